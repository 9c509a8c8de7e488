"""A process of callers: `python -m bench.load ADDRESS CALL OPTIONS`.

Says "ready" once it is connected and has prepared what its calls need. Then, for each line of JSON on stdin (callers,
seconds, calls), it lets so many callers call until the time or the calls are used up, and answers with a line of JSON
(seconds, error, the lengths of the series) and the series behind it, as doubles of seconds in the machine's order.
The first call that fails ends a window, and the window with it.
"""

import asyncio
import json
import sys
from array import array
from collections import defaultdict
from time import perf_counter
from typing import Any, cast

import grpc

from bench.calls import CALLS
from bench.calls.requests import Call
from bench.measured import LATENCY
from doubletext.channels import Channels


class Callers:
    def __init__(self) -> None:
        self.series: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.error = ""

    def note(self, series: str, value: float) -> None:
        """Told by the calls that measure more than their latency."""
        self.series[series].append(value)

    async def window(self, call: Call, callers: int, seconds: float, calls: int) -> float:
        """Returns how long it took, until the last answer."""
        self.series.clear()
        self.error = ""
        latencies, left = self.series[LATENCY], calls
        began = perf_counter()
        end = began + seconds

        async def caller() -> None:
            nonlocal left
            while left > 0 and (started := perf_counter()) < end and not self.error:
                left -= 1
                try:
                    await call()
                except Exception as error:  # noqa: BLE001 - whatever it is, the window is not to be counted
                    self.error = f"a call failed: {error!r}"
                else:
                    latencies.append(perf_counter() - started)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return perf_counter() - began


def _channel(address: str, *, many: bool) -> grpc.aio.Channel:
    """many: for more calls at once than one connection may have"""
    arguments = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    if not many:
        return grpc.aio.insecure_channel(address, arguments)
    return cast("grpc.aio.Channel", Channels(lambda _: grpc.aio.insecure_channel(address, arguments)))


async def main(address: str, name: str, options: dict[str, Any]) -> None:
    callers = Callers()
    async with _channel(address, many=name == "joiners") as channel:
        call = await CALLS[name](channel, callers.note, **options)
        out = sys.stdout.buffer
        out.write(b"ready\n")
        out.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            seconds = await callers.window(call, **json.loads(line))
            lengths = {name: len(values) for name, values in callers.series.items()}
            told = {"seconds": seconds, "error": callers.error, "series": lengths}
            out.write(f"{json.dumps(told)}\n".encode())
            if not callers.error:
                for values in callers.series.values():
                    out.write(values.tobytes())
            out.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
