"""The task as workflows of Temporal, in a worker: `python -m bench.peers.systems.temporal_worker HOST:PORT`.

A Turn is one run, named by its thread, so that the policy for a name that is taken is its strategy. A Conversation is a
thread that takes its runs one after the other out of the signals that it was sent.
"""

import asyncio
import sys
from collections import deque
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from bench.peers.journal import work

QUEUE = "bench"
Json = dict[str, Any]


@activity.defn
async def step(thread: str, number: int, place: int, seconds: float) -> None:
    await work(thread, number, place, seconds)


async def steps(given: Json) -> None:
    for place in range(given["steps"]):
        await workflow.execute_activity(
            step,
            args=[given["thread"], given["number"], place, given["seconds"]],
            start_to_close_timeout=timedelta(seconds=10),
        )


@workflow.defn
class Turn:
    @workflow.run
    async def run(self, given: Json) -> None:
        await steps(given)


@workflow.defn
class Conversation:
    def __init__(self) -> None:
        self._inbox: deque[Json] = deque()

    @workflow.signal
    def message(self, given: Json) -> None:
        self._inbox.append(given)

    @workflow.run
    async def run(self) -> None:
        while self._inbox:
            await steps(self._inbox.popleft())


async def main(address: str) -> None:
    client = await Client.connect(address)
    await Worker(client, task_queue=QUEUE, workflows=[Turn, Conversation], activities=[step]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
