"""A process of several Python workers, for the soak.

python -m tests.robustness.traffic.workers HOST:PORT WORKERS SLOTS
"""

import asyncio
import logging
import signal
import sys

import structlog

from doubletext import Worker
from tests.support.graphs import wandering


async def main(address: str, workers: int, slots: int) -> None:
    crew = [Worker(address, graphs=[wandering], slots=slots, drain=0.1) for _ in range(workers)]

    def stop() -> None:
        for worker in crew:
            worker.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    await asyncio.gather(*(worker.run() for worker in crew))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
