"""One caller's misfortune is no other's: changes that fail, callers that give up, files that cannot be written."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress

import pytest

from doubletext_server.store.rows import Rows
from doubletext_server.store.sqlite import store as store_module
from doubletext_server.store.sqlite import writes
from doubletext_statemachine import commands, errors
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Tombstone
from tests.support.store import ROLLBACK, Hand, SqliteHand, everything

Write = Callable[[sqlite3.Connection, Rows, set[str]], None]


def failing(error: Exception, thread_id: str = "poison") -> Write:
    """Writes as ever, and then fails, for one thread."""

    def write(connection: sqlite3.Connection, rows: Rows, left: set[str]) -> None:
        writes.write(connection, rows, left)
        if rows.thread_id == thread_id:
            raise error

    return write


def io_error() -> Exception:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@pytest.mark.parametrize(
    "error", [sqlite3.IntegrityError("a bug"), sqlite3.OperationalError("no such column: a bug"), RuntimeError("a bug")]
)
async def test_a_change_that_fails_does_so_alone(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    heard: list[str] = []
    sqlite.changes.listeners.append(lambda thread_id, decision: heard.append(thread_id))
    monkeypatch.setattr(store_module, "write", failing(error))
    names = ["a", "b", "poison", "c", "a", "d"]
    changes = [sqlite.change(commands.CreateThread(name)) for name in names]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert outcomes[2] is error
    assert isinstance(outcomes[4], errors.ThreadExists)
    assert [outcome.thread.thread_id for outcome in outcomes if isinstance(outcome, Decision) and outcome.thread] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert heard == ["a", "b", "c", "d"]
    threads = (await sqlite.store.threads([], 10, None)).items
    assert sorted(record.thread.thread_id for record in threads) == ["a", "b", "c", "d"]
    assert not sqlite.sqlite.writer.in_transaction
    with pytest.raises(type(error)):
        await sqlite.create("poison")
    await sqlite.create("e")


@pytest.mark.parametrize("thread_id", ["t", "poison"])
@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_callers_change_is_committed_whole_or_not_at_all(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, turns: int, thread_id: str
) -> None:
    heard: list[str] = []
    await sqlite.create(thread_id)
    await sqlite.admit("old", thread_id, given={"old": 1})
    await sqlite.claim(thread_id)
    monkeypatch.setattr(store_module, "write", failing(sqlite3.IntegrityError("a bug")))
    sqlite.changes.listeners.append(lambda thread_id, decision: heard.append(thread_id))
    before = everything(sqlite.path)

    call = asyncio.create_task(sqlite.admit("new", thread_id, ROLLBACK))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    with suppress(asyncio.CancelledError, sqlite3.IntegrityError):
        await call
    await sqlite.create("next")  # passes the writer after whatever became of the call

    assert not sqlite.sqlite.writer.in_transaction
    after = everything(sqlite.path)
    heard.remove("next")
    committed = await sqlite.store.run("new") is not None
    assert committed or turns == 0 or thread_id == "poison"
    assert heard == ([thread_id] if committed else [])
    found = await sqlite.store.run("old")
    if committed:
        assert isinstance(found, Tombstone)
        assert (await sqlite.store.thread(thread_id)).thread.last_step == 0
        assert len(after["steps"]) == 0
        assert len(await sqlite.events(thread_id)) == 5
    else:
        assert {table: rows for table, rows in after.items() if table != "threads"} == {
            table: rows for table, rows in before.items() if table != "threads"
        }
        assert [row for row in after["threads"] if row[0] == thread_id] == before["threads"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_reader_that_gives_up_disturbs_no_other_reader(hand: Hand, turns: int) -> None:
    await hand.create()
    await hand.update({"a": 1})
    readers = [asyncio.create_task(hand.values()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    readers[0].cancel()
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert outcomes[1:] == [{"a": 1}] * 2


async def test_a_database_that_cannot_be_written_just_now_is_no_bug(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    with monkeypatch.context() as broken:
        broken.setattr(store_module, "write", failing(io_error(), "t"))
        with pytest.raises(errors.NotReady, match="disk I/O error"):
            await sqlite.update({"a": 1})
    assert not sqlite.sqlite.writer.in_transaction
    await sqlite.update({"b": 2})
    assert await sqlite.values() == {"b": 2}


async def test_a_disk_that_is_full_refuses_what_it_has_no_room_for_and_nothing_else(sqlite: SqliteHand) -> None:
    await sqlite.create("t")
    await sqlite.create("u")
    await sqlite.sqlite.writer.run(_limit_pages(20))
    large, small = await asyncio.gather(
        sqlite.update({"large": "x" * 1_000_000}, "t"), sqlite.update({"small": 1}, "u"), return_exceptions=True
    )
    assert isinstance(large, errors.NotReady)
    assert "full" in str(large)
    assert isinstance(small, Decision)
    assert not sqlite.sqlite.writer.in_transaction
    await sqlite.sqlite.writer.run(_limit_pages(1_000_000))
    await sqlite.update({"large": "x" * 1_000_000}, "t")
    assert (await sqlite.store.thread("t")).thread.last_step == 1


def _limit_pages(more: int) -> Callable[[sqlite3.Connection], None]:
    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more}").fetchone()

    return limit


async def test_while_another_program_holds_the_database_all_callers_wait_no_longer_than_one(
    sqlite: SqliteHand,
) -> None:
    """Each attempt to begin waits for SQLite's busy timeout: a batch that cannot begin must not be tried one by one."""
    await sqlite.create()
    begun: list[str] = []

    def trace(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 1")
        connection.set_trace_callback(begun.append)

    await sqlite.sqlite.writer.run(trace)
    outsider = sqlite3.connect(sqlite.path, isolation_level=None)
    try:
        outsider.execute("BEGIN IMMEDIATE")
        begun.clear()
        outcomes = await asyncio.gather(*(sqlite.update({}) for _ in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.NotReady}
        attempts = sum(statement.startswith("BEGIN") for statement in begun)
        outsider.execute("ROLLBACK")
    finally:
        outsider.close()
    await sqlite.update({})
    assert attempts <= 2, f"{attempts} attempts to begin, for {len(outcomes)} callers"
