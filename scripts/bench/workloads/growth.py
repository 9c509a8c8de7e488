"""Long conversations: what a turn leaves in the file."""

import contextlib
import sqlite3
from pathlib import Path
from uuid import UUID

from bench.bench import Bench
from bench.measured import Curve, Result, Verdict
from bench.text import counted, figure
from bench.workload import Workload

FIRST = 10
FRESH = 100
"""Threads that are played to turn 10 at the end, in as full a file as the others: many, because a file grows by whole
pages, so that few turns tell nothing."""


async def run(bench: Bench) -> Result:
    later = [50, 200] if bench.plan.quick else [100, 1000]
    server = await bench.serve("three_steps")
    assert server.db is not None
    grown = []
    for turns, threads in ((later, 4), ([FIRST], FRESH)):
        names = [str(UUID(int=1000 * threads + number)) for number in range(threads)]
        load = await bench.load(server, "turn_on", threads=names, graph="three_steps")
        played = 0
        for turn in turns:
            bench.say(f"  {threads} threads up to turn {counted(turn)}")
            await load.window(threads, calls=threads * (turn // 2 - played))
            before = used(server.db)
            await load.window(threads, calls=threads * (turn - turn // 2))
            growth = zip(used(server.db), before, strict=True)
            grown.append([(now - then) / (threads * (turn - turn // 2)) for now, then in growth])
            played = turn
    xs, (whole, snapshots) = [FIRST, *later], zip(grown[-1], *grown[:-1], strict=True)
    told = f"{figure(whole[-1])} bytes at turn {counted(xs[-1])}; {figure(whole[0])} at turn {xs[0]}"
    panels = {"growth of the file per turn, bytes": {"in all": list(whole), "of these, snapshots": list(snapshots)}}
    return Result(
        curves=[Curve("growth", "Growth of the file, by turns", "turns on the thread", xs, panels)],
        verdicts=[Verdict("growth", whole[-1] / whole[0], told)],
    )


def used(db: Path) -> tuple[int, int]:
    """Bytes in pages that hold something, as the last commit left them, whether in the file or still in its -wal; and
    the bytes of all snapshots."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        count, free, size, snapshots = (
            int(connection.execute(query).fetchone()[0])
            for query in (
                "PRAGMA page_count",
                "PRAGMA freelist_count",
                "PRAGMA page_size",
                "SELECT coalesce(sum(length(CAST(body AS BLOB))), 0) FROM snapshots",
            )
        )
    return (count - free) * size, snapshots


WORKLOAD = Workload(
    "growth",
    "What a turn leaves in the file",
    f"""The same turns on new threads, really played, one after the other up to the last, on a few threads first, and
    then on {FRESH} more up to turn {FIRST} in the same file. Growth at a turn is the mean of the second half of the
    turns up to it, in pages in use: a thread's snapshots come as its state doubles, so that a half has its share.""",
    run,
    ("growth",),
)
