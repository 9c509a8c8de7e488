"""What a page costs does not grow with the file: counted in steps of SQLite's machine, and read off its query plans.

The threads and runs that fit are the oldest, or the newest, of their file, and whatever has only some of what is asked
for lies in between.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.words import CancelAction, RunStatus, ThreadStatus
from tests.support.store import GRAPHS, Hand, S, SqliteHand, pages

T = ThreadStatus
FEW, MANY = 20, 200
FIT: Final = 8
PAGE: Final = 3
BUSY_PLAN: Final = {"SCAN runs USING INDEX runs_in_flight", "SCAN (subquery-1)", "USE TEMP B-TREE FOR ORDER BY"}
"""BUSY threads are sorted page by page, as many as there are: not more than there is work in flight."""


@dataclass(frozen=True)
class Case:
    """A filter, what fits it, and of what there is much more: a status and metadata each."""

    metadata: str
    statuses: tuple[Any, ...]
    fits: tuple[Any, str]
    crowd: tuple[Any, str]


BOTH, A, B = '{"a":1,"b":1}', '{"a":1}', '{"b":1}'
THREADS: Final = {
    "all": Case("{}", (), (T.IDLE, "{}"), (T.IDLE, "{}")),
    "idle": Case("{}", (T.IDLE,), (T.IDLE, "{}"), (T.ERROR, "{}")),
    "error": Case("{}", (T.ERROR,), (T.ERROR, "{}"), (T.IDLE, "{}")),
    "interrupted": Case("{}", (T.INTERRUPTED,), (T.INTERRUPTED, "{}"), (T.ERROR, "{}")),
    "busy": Case("{}", (T.BUSY,), (T.BUSY, "{}"), (T.ERROR, "{}")),
    "busy or interrupted": Case("{}", (T.BUSY, T.INTERRUPTED), (T.BUSY, "{}"), (T.IDLE, "{}")),
    "a": Case(A, (), (T.IDLE, A), (T.IDLE, B)),
    "a and b, much b": Case(BOTH, (), (T.IDLE, BOTH), (T.IDLE, B)),
    "a and b, much a": Case(BOTH, (), (T.IDLE, BOTH), (T.IDLE, A)),
    "idle a": Case(A, (T.IDLE,), (T.IDLE, A), (T.IDLE, B)),
    "idle a, many in error": Case(A, (T.IDLE,), (T.IDLE, A), (T.ERROR, A)),
    "error a, much a": Case(A, (T.ERROR,), (T.ERROR, A), (T.IDLE, A)),
    "error a, many in error": Case(A, (T.ERROR,), (T.ERROR, A), (T.ERROR, B)),
    "busy a": Case(A, (T.BUSY,), (T.BUSY, A), (T.IDLE, A)),
}
RUNS: Final = {
    "all": Case("{}", (), (S.SUCCESS, "{}"), (S.SUCCESS, "{}")),
    "success": Case("{}", (S.SUCCESS,), (S.SUCCESS, "{}"), (S.INTERRUPTED, "{}")),
    "interrupted": Case("{}", (S.INTERRUPTED,), (S.INTERRUPTED, "{}"), (S.SUCCESS, "{}")),
    "pending": Case("{}", (S.PENDING,), (S.PENDING, "{}"), (S.INTERRUPTED, "{}")),
    "pending or error": Case("{}", (S.PENDING, S.ERROR), (S.PENDING, "{}"), (S.INTERRUPTED, "{}")),
    "a": Case(A, (), (S.INTERRUPTED, A), (S.INTERRUPTED, B)),
    "a and b, much b": Case(BOTH, (), (S.INTERRUPTED, BOTH), (S.INTERRUPTED, B)),
    "interrupted a, much a": Case(A, (S.INTERRUPTED,), (S.INTERRUPTED, A), (S.SUCCESS, A)),
    "pending a, much a": Case(A, (S.PENDING,), (S.PENDING, A), (S.INTERRUPTED, A)),
    "success a, many a success": Case(A, (S.SUCCESS,), (S.SUCCESS, A), (S.SUCCESS, B)),
}


async def make_threads(hand: Hand, prefix: str, count: int, kind: tuple[ThreadStatus, str]) -> None:
    status, metadata = kind
    names = [f"{prefix}{number}" for number in range(count)]
    hand.clock.now += 1
    await asyncio.gather(*(hand.create(name, metadata=metadata) for name in names))
    if status is T.IDLE:
        return
    await asyncio.gather(*(hand.admit(name, name) for name in names))
    if status is T.INTERRUPTED:
        await asyncio.gather(*(hand.cancel(name, name) for name in names))
    if status is T.ERROR:
        await asyncio.gather(*(hand.claim(name) for name in names))
        await asyncio.gather(*(hand.change(commands.FailRun(name, name, 1, "E", "m")) for name in names))


async def make_runs(hand: Hand, prefix: str, count: int, kind: tuple[RunStatus, str]) -> None:
    status, metadata = kind
    changes: list[commands.Command] = []
    for name in (f"{prefix}{number}" for number in range(count)):
        changes.append(hand.admission(name, metadata=metadata))
        if status is S.SUCCESS:
            changes += [commands.ClaimRun("t", GRAPHS), commands.SucceedRun("t", name, 1)]
        elif status is S.INTERRUPTED:
            changes.append(commands.CancelRun("t", name, CancelAction.INTERRUPT))
    await asyncio.gather(*map(hand.change, changes))


@dataclass
class Meter:
    """Counts the steps of the machine on the connection that serves lists, and notes its statements."""

    steps: int = 0
    statements: dict[str, None] = field(default_factory=dict)

    def attach(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(self._step, 1)
        connection.set_trace_callback(self.statements.setdefault)

    def _step(self) -> None:
        self.steps += 1

    def plans(self, connection: sqlite3.Connection) -> Iterator[str]:
        connection.set_trace_callback(None)
        for sql in self.statements:
            if "SELECT" in sql:
                yield from (row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))


async def first_pages(read: Callable[[list[Any] | None], Awaitable[Any]], id_of: Callable[[Any], str]) -> list[str]:
    """The ids on the first pages, as many as what fits makes up."""
    found: list[str] = []
    async for page in pages(read):
        found += [id_of(record) for record in page]
        if len(found) > 2 * PAGE:
            break
    return found


async def cost(sqlite: SqliteHand, read: Callable[[], Awaitable[list[str]]]) -> tuple[int, list[str], list[str]]:
    """Steps, what was found, and the plans by which."""
    meter = Meter()
    await sqlite.sqlite.scans.run(meter.attach)
    found = await read()
    return meter.steps, found, await sqlite.sqlite.scans.run(lambda connection: list(meter.plans(connection)))


def assert_served_from_indexes(plans: list[str], allowed: set[str]) -> None:
    assert plans
    assert [step for step in plans if step.startswith(("SCAN", "USE TEMP")) and step not in allowed] == []


@pytest.mark.parametrize("which", THREADS)
async def test_a_page_of_threads_costs_the_same_in_a_larger_file(sqlite: SqliteHand, which: str) -> None:
    case = THREADS[which]

    async def read() -> list[str]:
        def page(after: list[Any] | None) -> Any:
            return sqlite.store.threads(case.statuses, PAGE, after, case.metadata)

        return await first_pages(page, lambda record: str(record.thread.thread_id))

    await make_threads(sqlite, "old ", FIT // 2, case.fits)
    await make_threads(sqlite, "few ", FEW, case.crowd)
    await make_threads(sqlite, "new ", FIT // 2, case.fits)
    small, found, plans = await cost(sqlite, read)
    assert_served_from_indexes(plans, BUSY_PLAN if T.BUSY in case.statuses else set())
    for name in [f"new {number}" for number in range(FIT // 2)]:
        await sqlite.change(commands.DeleteThread(name))
    await make_threads(sqlite, "many ", MANY, case.crowd)
    await make_threads(sqlite, "new ", FIT // 2, case.fits)
    large, found_again, plans_again = await cost(sqlite, read)
    assert found_again == found or which == "all"
    assert which == "all" or [name[:3] for name in found] == ["new"] * (FIT // 2) + ["old"] * (len(found) - FIT // 2)
    assert set(plans_again) == set(plans)
    assert large <= small * 1.1


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("which", RUNS)
async def test_a_page_of_runs_costs_the_same_on_a_longer_thread(
    sqlite: SqliteHand, which: str, oldest_first: bool
) -> None:
    case = RUNS[which]

    async def read() -> list[str]:
        def page(after: list[Any] | None) -> Any:
            return sqlite.store.runs("t", case.statuses, oldest_first, PAGE, after, case.metadata)

        return await first_pages(page, lambda record: str(record.run.run_id))

    await sqlite.create()
    await make_runs(sqlite, "old ", FIT // 2, case.fits)
    await make_runs(sqlite, "few ", FEW, case.crowd)
    await make_runs(sqlite, "new ", FIT // 2, case.fits)
    small, found, plans = await cost(sqlite, read)
    assert_served_from_indexes(plans, set())
    for name in [f"new {number}" for number in range(FIT // 2)]:
        await sqlite.cancel(name)
        await sqlite.change(commands.DeleteRun("t", name))
    await make_runs(sqlite, "many ", MANY, case.crowd)
    await make_runs(sqlite, "new ", FIT // 2, case.fits)
    large, found_again, plans_again = await cost(sqlite, read)
    first, then = ("old", "new") if oldest_first else ("new", "old")
    assert which == "all" or [name[:3] for name in found] == [first] * (FIT // 2) + [then] * (len(found) - FIT // 2)
    assert found_again == found or which == "all"
    assert set(plans_again) == set(plans)
    assert large <= small * 1.1
