"""What is left of accepted inputs when all of a system is killed. Standard library only, for every peer's venv."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from bench.peers.journal import Journal, inversions, lost, overlaps
from bench.peers.scenarios import STEP
from bench.peers.systems.base import System, Work

THREADS, RUNS = 20, 10
DONE_FIRST: Final = 50
QUIET: Final = 15.0
LONGEST: Final = 60.0


async def kill(system: System, path: Path, name: str) -> dict[str, Any]:
    """200 accepted 50 ms runs on 20 threads; when 50 are done, SIGKILL for every process of the servers, and these are
    started again on their data: how many inputs never come to their end, until nothing has happened for 15 s."""
    journal, accepted = Journal(path), list[tuple[str, int]]()
    threads = [f"{name}-kill-{number}" for number in range(THREADS)]

    async def fill(thread: str) -> None:
        for number in range(1, RUNS + 1):
            await system.create(Work(thread, number, seconds=STEP), "enqueue")
            accepted.append((thread, number))

    async with asyncio.TaskGroup() as callers:
        for thread in threads:
            callers.create_task(fill(thread))
    await _until_open(journal, accepted, len(accepted) - DONE_FIRST)
    await system.kill()
    journal.look()
    open_at_kill = lost(journal, accepted)
    began = time.monotonic()
    await system.start()
    await _until_open(journal, accepted, 0)
    marks = [journal.marks[thread] for thread in threads]
    return {
        "accepted": len(accepted),
        "open_at_kill": open_at_kill,
        "lost": lost(journal, accepted),
        "overlaps": sum(map(overlaps, marks)),
        "inversions": sum(map(inversions, marks)),
        "seconds": time.monotonic() - began,
    }


async def _until_open(journal: Journal, accepted: list[tuple[str, int]], wanted: int) -> None:
    """Wait until no more than `wanted` of the accepted runs are open, or nothing happens any more."""
    began = grew = time.monotonic()
    size = journal.size
    while lost(journal, accepted) > wanted and time.monotonic() < min(began + LONGEST, grew + QUIET):
        await asyncio.sleep(STEP / 10)
        journal.look()
        if journal.size > size:
            size, grew = journal.size, time.monotonic()
