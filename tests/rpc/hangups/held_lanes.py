"""The lanes to the database stopped for a while, so that a call comes so far and no further."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doubletext_server.store.sqlite.lane import Lane

LONGEST = 30
"""Seconds: should the test hang, the thread must end all the same."""


@asynccontextmanager
async def held(*lanes: Lane) -> AsyncIterator[None]:
    """Nothing passes these lanes inside. What was asked meanwhile is done afterwards."""
    let_go = threading.Event()
    loop, there = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def stop(_: object) -> None:
        loop.call_soon_threadsafe(there.release)
        let_go.wait(LONGEST)

    stopped = [asyncio.create_task(lane.run(stop)) for lane in lanes]
    for _ in lanes:
        await there.acquire()
    try:
        yield
    finally:
        let_go.set()
        await asyncio.gather(*stopped)


def waiting(*lanes: Lane) -> int:
    """How many have come to these lanes and wait."""
    return sum(len(lane._waiting) for lane in lanes)
