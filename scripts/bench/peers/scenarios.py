"""What is asked of every system, one scenario after another. Standard library only: it runs in every peer's venv.

Times in the results are lists of samples in milliseconds. A scenario that needs a strategy which the system lacks is
None. Each is bounded in time, so that a slow system gives fewer samples instead of a longer benchmark.
"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.peers.journal import Journal, gaps, inversions, lost, milliseconds, overlaps
from bench.peers.systems.base import Refused, System, Work

STEP: Final = 0.05
CALLERS: Final = 64
IDLE_RUNS: Final = 40
IDLE_PAUSE: Final = (0.04, 0.14)
BUSY_SECONDS: Final = 3.0
QUEUE_THREADS, QUEUE_RUNS, QUEUE_SECONDS = 4, 10, 15.0
STOPS, STOP_SECONDS = 15, 5.0
LONG: Final = 200  # steps of a run that is there to be stopped
HEAD_START: Final = (0.06, 0.56)  # seconds that it has
PATIENCE: Final = 20.0


class Scenarios:
    """All scenarios on one system; `journal` is what its tasks write."""

    def __init__(self, system: System, journal: Path, name: str) -> None:
        self._system = system
        self._journal = Journal(journal)
        self._name = name
        self._threads = 0
        # Calls come at random moments: at regular ones, or right after an answer, a system that polls would always be
        # met in the same phase of its sleep.
        self._random = random.Random(name)

    async def play(self) -> dict[str, Any]:
        await self._warm_up()
        return {
            "idle": await self._idle(),
            "busy": await self._busy(),
            "queue": await self._queue(),
            "interrupt": await self._stop("interrupt"),
            "rollback": await self._stop("rollback"),
            "reject": await self._reject(),
        }

    async def _warm_up(self) -> None:
        """The first run of a process loads what later ones find loaded."""
        await asyncio.wait_for(
            self._system.join(await self._system.create(Work(self._thread(), 1), "enqueue")), PATIENCE
        )

    async def _idle(self) -> dict[str, Any]:
        """No-ops on threads of their own, about eleven a second: create -> start, create -> join."""
        called: dict[str, int] = {}
        joined: list[float] = []

        async def call(thread: str) -> None:
            called[thread] = time.monotonic_ns()
            await self._system.join(await self._system.create(Work(thread, 1), "enqueue"))
            joined.append(milliseconds(time.monotonic_ns() - called[thread]))

        async with asyncio.TaskGroup() as calls:
            for _ in range(IDLE_RUNS):
                calls.create_task(call(self._thread()))
                await asyncio.sleep(self._random.uniform(*IDLE_PAUSE))
        self._journal.look()
        starts = [milliseconds(self._started(thread, 1) - at) for thread, at in called.items()]
        return {"create_start": starts, "create_join": joined}

    async def _busy(self) -> dict[str, Any]:
        """64 callers, each with a no-op on a new thread whenever its last has been joined, for some seconds and until
        all are joined: runs per second."""
        begin, done = time.monotonic(), 0

        async def call() -> None:
            nonlocal done
            while time.monotonic() < begin + BUSY_SECONDS:
                await self._system.join(await self._system.create(Work(self._thread(), 1), "enqueue"))
                done += 1

        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call())
        return {"runs_per_second": done / (time.monotonic() - begin)}

    async def _queue(self) -> dict[str, Any] | None:
        """50 ms runs, ten on each of four threads as fast as they are accepted: the end of each -> the next start."""
        if "enqueue" not in self._system.strategies:
            return None
        threads = [self._thread() for _ in range(QUEUE_THREADS)]

        async def fill(thread: str) -> None:
            for number in range(1, QUEUE_RUNS + 1):
                await self._system.create(Work(thread, number, seconds=STEP), "enqueue")

        await asyncio.gather(*(fill(thread) for thread in threads))
        wanted = [(thread, number) for thread in threads for number in range(1, QUEUE_RUNS + 1)]
        await self._until(lambda: lost(self._journal, wanted) == 0, QUEUE_SECONDS)
        marks = [self._journal.marks[thread] for thread in threads]
        return {
            "finish_start": [gap for each in marks for gap in gaps(each)],
            "overlaps": sum(map(overlaps, marks)),
            "inversions": sum(map(inversions, marks)),
            "runs": len(wanted),
            "unfinished": lost(self._journal, wanted),
        }

    async def _stop(self, strategy: str) -> dict[str, Any] | None:
        """On one thread, a run of many 50 ms steps; in its midst another with the strategy, and so on: the call that
        supersedes -> the successor's start."""
        if strategy not in self._system.strategies:
            return None
        thread, until, called = self._thread(), time.monotonic() + STOP_SECONDS, list[int]()

        async def text(steps: int) -> Any:
            called.append(time.monotonic_ns())
            return await self._system.create(Work(thread, len(called), steps, STEP), strategy)

        def newest_runs() -> bool:
            return self._journal.started(thread, len(called)) is not None

        await text(LONG)
        while await self._until(newest_runs, PATIENCE) and len(called) < STOPS and time.monotonic() < until:
            await asyncio.sleep(self._random.uniform(*HEAD_START))
            await text(LONG)
        await asyncio.sleep(self._random.uniform(*HEAD_START))
        created, last = await text(1), len(called)
        await self._until(lambda: self._journal.done(thread, last), PATIENCE)
        await asyncio.sleep(2 * STEP)  # what goes on in spite of being stopped still has a step to end
        self._journal.look()
        marks = self._journal.marks[thread]
        starts = [self._journal.started(thread, each) for each in range(2, last + 1)]
        result = {
            "start": [
                milliseconds(start - at) for at, start in zip(called[1:], starts, strict=True) if start is not None
            ],
            "overlaps": overlaps(marks),
            "runs": last,
            "never_started": starts.count(None),
        }
        if strategy == "rollback":
            await self._system.join(created)
            kept = await self._system.inputs(thread)
            result |= {"left": sum(number != last for number in kept), "rolled_back": last - 1, "kept": last in kept}
        return result

    async def _reject(self) -> dict[str, Any] | None:
        """Whether a second run is refused while the first runs, and leaves nothing behind."""
        if "reject" not in self._system.strategies:
            return None
        thread = self._thread()
        await self._system.create(Work(thread, 1, seconds=10 * STEP), "reject")
        await self._until(lambda: self._journal.started(thread, 1) is not None, PATIENCE)
        refused, took = False, time.monotonic_ns()
        try:
            await self._system.create(Work(thread, 2, seconds=STEP), "reject")
        except Refused:
            refused = True
        result = {"refused": refused, "refusal": [milliseconds(time.monotonic_ns() - took)]}
        await self._until(lambda: self._journal.done(thread, 1), PATIENCE)
        return result

    def _thread(self) -> str:
        self._threads += 1
        return f"{self._name}-{self._threads}"

    def _started(self, thread: str, number: int) -> int:
        start = self._journal.started(thread, number)
        assert start is not None, f"{thread} {number} was joined, and never started"
        return start

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Look at the journal until it holds; whether it did in that time."""
        until = time.monotonic() + seconds
        while True:
            self._journal.look()
            if holds():
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.005)
