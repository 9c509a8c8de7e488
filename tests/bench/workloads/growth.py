"""Long conversations: what a turn leaves in the file."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.bench.bench import Bench
from tests.bench.measured import Curve, Result, Verdict
from tests.bench.text import counted, figure
from tests.bench.workload import Workload

FRESH = 100
"""Threads that are played to turn 10 at the end, in as full a file as the others: many, because a file grows by whole
pages, so that few turns tell nothing."""


@dataclass(frozen=True)
class At:
    """A turn that is looked at, with so many turns before and after it."""

    turn: int
    near: int


FIRST = At(10, 5)


async def run(bench: Bench) -> Result:
    later, old = ([At(200, 50)], 4) if bench.plan.quick else ([At(100, 50), At(1000, 100)], 8)
    server = await bench.serve("three_steps")
    assert server.db is not None
    grown = []
    for at, threads in ((later, old), ([FIRST], FRESH)):
        names = [str(UUID(int=1000 * threads + number)) for number in range(threads)]
        load = await bench.load(server, "turn_on", threads=names, graph="three_steps")
        played = 0
        for each in at:
            bench.say(f"  {threads} threads up to turn {counted(each.turn)}")
            await load.window(threads, calls=threads * (each.turn - each.near - played))
            before = used(server.db)
            await load.window(threads, calls=threads * 2 * each.near)
            grown.append((used(server.db) - before) / (threads * 2 * each.near))
            played = each.turn + each.near
    turns, growth = [FIRST.turn, *(each.turn for each in later)], [grown[-1], *grown[:-1]]
    told = f"{figure(growth[-1])} bytes at turn {counted(turns[-1])}; {figure(growth[0])} at turn {turns[0]}"
    panels = {"growth of the file per turn, bytes": {"create, three steps, wait": growth}}
    return Result(
        curves=[Curve("growth", "Growth of the file, by turns", "turns on the thread", turns, panels)],
        verdicts=[Verdict("growth", growth[-1] / growth[0], told)],
    )


def used(db: Path) -> int:
    """Bytes in pages that hold something, as the last commit left them, whether in the file or still in its -wal."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        count, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (count - free) * size


WORKLOAD = Workload(
    "growth",
    "What a turn leaves in the file",
    f"""The same turns on new threads, really played, one after the other up to the last, on a few threads first, and
    then on {FRESH} more up to turn {FIRST.turn} in the same file. Growth at a turn is that of the turns around it, on
    all these threads together, in pages in use. Nobody reads the state: snapshots, which readers leave behind and which
    together stay smaller than the steps, are not part of it.""",
    run,
    ("growth",),
)
