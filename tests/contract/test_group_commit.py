"""What waits together is committed together, decided one after the other, and seen by nobody before."""

import asyncio
import sqlite3
import threading
from types import SimpleNamespace

import pytest

from doubletext_server.store.rows import Rows
from doubletext_server.store.sqlite import lane, writes
from doubletext_server.store.sqlite import store as store_module
from tests.support.store import INTERRUPT, Hand, SqliteHand, everything


async def test_readers_see_nothing_of_a_change_before_it_is_committed(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, go_on = threading.Event(), threading.Event()

    def write(connection: sqlite3.Connection, rows: Rows, left: set[str]) -> None:
        writes.write(connection, rows, left)
        written.set()
        assert go_on.wait(30)

    await sqlite.create()
    monkeypatch.setattr(store_module, "write", write)
    change = asyncio.create_task(sqlite.update({"a": 1}))
    try:
        await asyncio.to_thread(written.wait, 30)
        assert await sqlite.values() == {}
        assert (await sqlite.store.thread("t")).thread.last_step == 0
        assert await sqlite.events() == []
    finally:
        go_on.set()
    await change
    assert await sqlite.values() == {"a": 1}


async def test_changes_that_wait_together_are_committed_together(sqlite: SqliteHand) -> None:
    before = sqlite.sqlite.writer.batches
    await asyncio.gather(*(sqlite.create(f"t{number}") for number in range(100)))
    assert sqlite.sqlite.writer.batches - before <= 3
    assert len((await sqlite.store.threads([], 200, None)).items) == 100


async def test_no_batch_is_larger_than_the_largest(sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LARGEST_BATCH", 10)
    before = sqlite.sqlite.writer.batches
    await asyncio.gather(*(sqlite.create(f"t{number}") for number in range(95)))
    assert 10 <= sqlite.sqlite.writer.batches - before <= 12


async def test_an_observer_is_told_of_a_batch_before_its_callers_are_answered(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []
    sqlite.sqlite.writer.observe = lambda size, seconds: told.append((size, seconds))
    ticks = iter([2.0, 2.25, 3.0, 3.5])
    monkeypatch.setattr(lane, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    await sqlite.create("t1")
    assert told == [(1, 0.25)]
    refused = sqlite.admit("r", "nowhere")
    await asyncio.gather(refused, sqlite.create("t2"), sqlite.create("t3"), return_exceptions=True)
    assert told == [(1, 0.25), (3, 0.5)]


async def test_an_observer_that_fails_fails_no_change(sqlite: SqliteHand) -> None:
    told: list[int] = []

    def observe(size: int, seconds: float) -> None:
        told.append(size)
        raise RuntimeError("no one listens")

    sqlite.sqlite.writer.observe = observe
    await sqlite.create("t1")
    await sqlite.create("t2")
    assert told == [1, 1]


async def test_changes_of_one_thread_that_wait_together_are_decided_one_after_the_other(hand: Hand) -> None:
    await hand.create()
    decisions = await asyncio.gather(*(hand.admit(f"r{number}", strategy=INTERRUPT) for number in range(30)))
    assert [decision.admitted and decision.admitted.sequence for decision in decisions] == list(range(1, 31))
    runs = [record.run for record in (await hand.store.runs("t", [], True, 100, None)).items]
    assert [run.superseded_by for run in runs] == [*(f"r{number}" for number in range(1, 30)), None]


async def test_closing_finishes_what_was_asked(sqlite: SqliteHand) -> None:
    await sqlite.create()
    changes = [asyncio.create_task(sqlite.update({str(number): number})) for number in range(300)]
    await asyncio.sleep(0)
    await sqlite.close()
    await asyncio.gather(*changes)
    assert len(everything(sqlite.path)["steps"]) == 300
