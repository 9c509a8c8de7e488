"""Opening a database file: which are taken, whom they belong to while open, and the settings then in force."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.protocol import RunRecord
from doubletext_server.store.sqlite import schema
from doubletext_server.store.sqlite.lane import Lane
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.errors import NotReady
from doubletext_statemachine.model import Run
from tests.support.clock import SECOND, ManualClock
from tests.support.database_files import (
    a_foreign_database,
    an_empty_file,
    beside,
    no_thread_left,
    opened,
    opens,
    query,
    refusal,
    untouched,
)
from tests.support.store import GRAPHS, SqliteHand


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def half_made(path: Path, pages_before: int) -> None:
    """A file without its first page, and a journal that says how many there were before."""
    sector, page = 512, 4096
    path.write_bytes(bytes(page) + b"x" * page)
    numbers = (0, 7, pages_before, sector, page)  # records, nonce, …
    header = schema.JOURNAL + b"".join(number.to_bytes(4) for number in numbers)
    path.with_name(f"{path.name}-journal").write_bytes(header.ljust(sector, b"\0"))


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_new_file_is_created_for_its_owner_only(path: Path) -> None:
    await opens(path)
    assert mode(path) == 0o600
    assert query(path, "PRAGMA application_id") == schema.APPLICATION_ID
    assert query(path, "PRAGMA user_version") == len(schema.MIGRATIONS)
    await opens(path)


async def test_a_file_that_others_may_read_is_refused_unless_told(path: Path) -> None:
    await opens(path)
    os.chmod(path, 0o644)
    with pytest.raises(schema.CannotOpen, match=r"its mode is 644.*chmod 600 .*--db-mode 644"):
        await opens(path)
    await (await SqliteStore.open(str(path), ManualClock(), 0o644)).close()
    os.chmod(path, 0o666)
    with pytest.raises(schema.CannotOpen, match=r"chmod 644"):
        await SqliteStore.open(str(path), ManualClock(), 0o644)


async def test_a_new_file_gets_the_mode_that_was_asked_for(path: Path) -> None:
    store = await SqliteStore.open(str(path), ManualClock(), 0o640)
    assert {mode(path), mode(path.with_name(f"{path.name}-wal"))} == {0o640}
    await store.close()


async def test_an_empty_file_is_taken(path: Path) -> None:
    an_empty_file(path)
    await opens(path)
    assert query(path, "PRAGMA application_id") == schema.APPLICATION_ID


async def test_a_file_whose_making_the_power_cut_off_is_made_anew(path: Path) -> None:
    """The pages after the first have got to the disk, and the first has not."""
    half_made(path, pages_before=0)
    await opens(path)
    assert query(path, "PRAGMA user_version") == len(schema.MIGRATIONS)


async def test_a_file_that_had_pages_before_its_first_was_lost_is_refused_and_left_as_it_was(path: Path) -> None:
    half_made(path, pages_before=2)
    with untouched(path):
        assert "it is not a database" in await refusal(path)


async def test_the_file_is_nobodys_once_it_is_closed(path: Path) -> None:
    first = await opened(path)
    await first.close()
    assert beside(path) == [path.name]
    await opens(path)


# Whose the file is

ROOT: Final = Path(__file__).parents[2]
HOLD: Final = """
import asyncio, sys
from doubletext_server.clock import system_clock
from doubletext_server.store.sqlite.store import SqliteStore

async def hold():
    store = await SqliteStore.open(sys.argv[1], system_clock)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()

asyncio.run(hold())
"""


def holder(path: Path, script: str = HOLD) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


async def test_a_file_that_another_server_has_is_refused_until_that_one_lets_go(path: Path) -> None:
    with holder(path) as other:
        assert other.stdin
        assert other.stdout
        try:
            assert other.stdout.readline() == "open\n"
            said = rf"in use by another server \(process {other.pid}\); stop that one"
            with untouched(path), pytest.raises(schema.CannotOpen, match=said):
                await opened(path)
        finally:
            other.communicate("\n", timeout=30)
    assert other.returncode == 0
    await opens(path)


async def test_a_file_whose_server_was_killed_is_free(path: Path) -> None:
    with holder(path) as other:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        other.kill()
    await opens(path)


async def test_a_file_is_refused_a_second_time_in_the_same_process_and_stays_with_the_first(path: Path) -> None:
    first = await opened(path)
    files = descriptors()
    for _ in range(2):
        with pytest.raises(schema.CannotOpen, match="in use"):
            await opened(path)
    assert descriptors() == files
    await first.threads([], 10, None)
    await first.close()
    await opens(path)


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_whichever_connection_fails_to_open_nothing_is_held_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    await opens(path)
    connect, calls = schema.connect, []

    def counted(path: str, *, read_only: bool) -> sqlite3.Connection:
        calls.append(read_only)
        if len(calls) == failing:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, read_only=read_only)

    with monkeypatch.context() as broken:
        broken.setattr(schema, "connect", counted)
        with no_thread_left(), pytest.raises((sqlite3.OperationalError, schema.CannotOpen)):
            await opened(path)
    assert len(calls) == failing
    await opens(path)


def test_a_process_that_cannot_open_its_file_exits(path: Path) -> None:
    a_foreign_database(path)
    with holder(path, HOLD) as process:
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")


# The settings in force


async def setting(lane: Lane, name: str) -> object:
    return await lane.run(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1), ("fullfsync", 1)],
)
async def test_the_writer_is_durable_checks_references_and_overwrites(
    sqlite: SqliteHand, name: str, value: object
) -> None:
    for _ in range(2):
        assert await setting(sqlite.sqlite.writer, name) == value
        await sqlite.reopen()


async def test_the_readers_cannot_write(sqlite: SqliteHand) -> None:
    for reader in (sqlite.sqlite.rows, sqlite.sqlite.scans):
        assert await setting(reader, "query_only") == 1
        with pytest.raises(NotReady, match="readonly"):
            await reader.run(lambda connection: connection.execute("DELETE FROM threads"))


async def test_a_closed_file_holds_all_and_needs_no_log(sqlite: SqliteHand) -> None:
    await sqlite.create("someone")
    await sqlite.close()
    assert b"someone" in sqlite.path.read_bytes()


async def test_time_goes_on_from_the_newest_change_when_the_clock_was_set_back(sqlite: SqliteHand) -> None:
    """A rollback compares times: what ended while the run was in flight left a state that is cut off."""
    await sqlite.create()
    await sqlite.admit("r")
    run = (await sqlite.change(commands.ClaimRun("t", GRAPHS, "w", 3600 * SECOND))).run
    assert isinstance(run, Run)
    await sqlite.change(commands.CommitStep("t", "r", run.epoch, '{"a":1}'))
    before = sqlite.clock.now
    sqlite.clock.now -= 500 * SECOND
    await sqlite.reopen()
    assert sqlite.store.clock() == before
    sqlite.clock.now += 5
    await sqlite.admit("p")
    await sqlite.cancel("p")
    await sqlite.cancel("r", rollback=True)
    found = await sqlite.store.run("p")
    assert isinstance(found, RunRecord)
    assert (found.run.create_time, found.run.left_state_at) == (before + 5, 0)


async def test_the_log_shrinks_again_once_a_long_reader_has_gone(sqlite: SqliteHand) -> None:
    log = sqlite.path.with_name(f"{sqlite.path.name}-wal")
    await sqlite.create()
    with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM threads").fetchone()
        for _ in range(12):
            await sqlite.update({"a": "x" * 1_000_000})
        grown = log.stat().st_size
    for _ in range(12):
        await sqlite.update({"a": "x" * 1_000_000})
    assert grown > 2 * schema.LARGEST_LOG
    assert log.stat().st_size < 2 * schema.LARGEST_LOG
