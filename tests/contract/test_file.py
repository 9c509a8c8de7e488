"""The database file: whom it belongs to, what is refused with the file left as it was, and how its schema moves on."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from server.store import schema
from server.store.lane import Lane
from server.store.sqlite import SqliteStore
from statemachine.errors import NotReady
from tests.contract.conftest import ManualClock, SqliteHand, everything, tables_with

ROOT: Final = Path(__file__).parents[2]


async def opened(path: Path) -> SqliteStore:
    return await SqliteStore.open(str(path), ManualClock())


async def opens(path: Path) -> None:
    """Opens, answers, and closes."""
    store = await opened(path)
    await store.threads([], 10, None)
    await store.close()


@contextmanager
def no_thread_left() -> Iterator[None]:
    """No thread of a connection is left, which would keep the process from exiting."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


async def refusal(path: Path) -> str:
    """What opening the file is refused with. It lets go of the lock and of its threads."""
    with no_thread_left(), pytest.raises(schema.CannotOpen) as refused:
        await opens(path)
    if is_file(path):
        os.close(schema.own(str(path)))
    message = str(refused.value)
    assert str(path) in message
    assert "choose another --db" in message or "newer server" in message
    return message


def query(path: Path, sql: str) -> object:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute(sql).fetchone()
        return row and row[0]


def is_file(path: Path) -> bool:
    return path.is_file()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def beside(path: Path) -> list[str]:
    """The files in the path's directory."""
    return sorted(each.name for each in path.parent.iterdir())


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """The file has the same bytes and nothing lies beside it that did not before."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    yield
    after = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    assert after == before


# Files that are taken


async def test_a_new_file_is_created_for_its_owner_only(path: Path) -> None:
    await opens(path)
    assert mode(path) == 0o600
    assert query(path, "PRAGMA application_id") == schema.APPLICATION_ID
    assert query(path, "PRAGMA user_version") == len(schema.MIGRATIONS)
    await opens(path)


def an_empty_file(path: Path) -> None:
    path.touch()


def an_empty_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE gone (x); DROP TABLE gone;")
    assert path.stat().st_size


async def test_an_empty_file_is_taken(path: Path) -> None:
    an_empty_file(path)
    await opens(path)
    assert query(path, "PRAGMA application_id") == schema.APPLICATION_ID


async def test_the_file_is_nobodys_once_it_is_closed(path: Path) -> None:
    first = await opened(path)
    await first.close()
    assert beside(path) == [path.name]
    await opens(path)


# Files that are refused


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE songs (title); INSERT INTO songs VALUES ('mine');")


def an_empty_database_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA application_id = 77; CREATE TABLE gone (x); DROP TABLE gone;")


def a_foreign_database_in_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE songs (title);")


def a_foreign_database_whose_program_died(path: Path) -> None:
    """Its last transactions are in the log, not in the file yet."""
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.executescript('PRAGMA journal_mode = WAL; CREATE TABLE songs (title);'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert path.with_name(path.name + "-wal").stat().st_size


def an_empty_database_with_a_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA user_version = 1; CREATE TABLE gone (x); DROP TABLE gone;")


def a_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1_000)


def a_short_text(path: Path) -> None:
    path.write_text("xy")  # of a single byte SQLite says that it is empty


def a_torn_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(8192))


FOREIGN: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "an empty database": (an_empty_database, "another program"),
    "a foreign database": (a_foreign_database, "another program"),
    "an empty database of another program": (an_empty_database_of_another_program, "another program"),
    "a foreign database in WAL mode": (a_foreign_database_in_wal_mode, "another program"),
    "a foreign database whose program died": (a_foreign_database_whose_program_died, "another program"),
    "an empty database with a version": (an_empty_database_with_a_version, "another program"),
    "a text": (a_text, "not a database"),
    "a short text": (a_short_text, "not a database"),
    "a torn header": (a_torn_header, "not a database"),
    "zeros": (zeros, "not a database"),
}


@pytest.mark.parametrize("kind", list(FOREIGN))
async def test_a_file_of_another_kind_is_refused_and_left_as_it_was(path: Path, kind: str) -> None:
    make, says = FOREIGN[kind]
    make(path)
    with untouched(path):
        assert says in await refusal(path)


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_was(path: Path) -> None:
    await opens(path)
    newer = len(schema.MIGRATIONS) + 1
    query(path, f"PRAGMA user_version = {newer}")
    with untouched(path):
        message = await refusal(path)
    assert f"schema version {newer}" in message
    assert f"versions up to {newer - 1}" in message


async def test_a_truncated_database_is_refused_and_left_as_it_was(path: Path) -> None:
    await opens(path)
    os.truncate(path, 5_000)
    with untouched(path):
        assert "malformed" in await refusal(path)


HOLD: Final = """
import asyncio, sys
from server.clock import system_clock
from server.store.sqlite import SqliteStore

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
            with untouched(path), pytest.raises(schema.CannotOpen, match="in use by another server; stop that one"):
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


@pytest.mark.parametrize("wrong", ["missing/x.db", "file/x.db", "directory"])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    message = await refusal(tmp_path / wrong)
    assert any(says in message for says in ("No such file or directory", "Not a directory", "Is a directory"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user whom permissions bind, where the tests are run by root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def reachable(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody can reach as well; pytest's own are the user's alone."""
    for directory in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        if directory.stat().st_mode & stat.S_IXOTH:
            break
        directory.chmod(0o755)
    yield tmp_path
    tmp_path.chmod(0o755)


async def test_a_directory_that_must_not_be_written_is_refused(reachable: Path) -> None:
    os.chmod(reachable, 0o555)
    with as_nobody():
        assert "Permission denied" in await refusal(reachable / "x.db")
    assert beside(reachable / "x.db") == []


@pytest.mark.parametrize("ready", [False, True])
async def test_a_file_beside_which_no_log_can_be_written_is_refused(reachable: Path, ready: bool) -> None:
    path = reachable / "x.db"
    an_empty_file(path)
    if ready:
        await opens(path)
    os.chmod(path, 0o666)
    os.chmod(reachable, 0o555)
    with as_nobody(), untouched(path):
        assert "the database" in await refusal(path)


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
    ("name", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)]
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


# What the schema refuses, should the code forget


FORBIDDEN: Final = {
    "a second running run": "INSERT INTO runs SELECT 'x', thread_id, 9, {rest} FROM runs",
    "a second run of a sequence": "INSERT INTO runs SELECT 'x', thread_id, 1, {pending} FROM runs",
    "a status without a name": "UPDATE runs SET status = 'paused', end_time = 1",
    "a run that is deleted and there": "UPDATE runs SET status = 'deleted', end_time = 1",
    "an end of a run in flight": "UPDATE runs SET end_time = 1",
    "a terminal run without an end": "UPDATE runs SET status = 'success'",
    "a run of no thread": "UPDATE runs SET thread_id = 'nobody'",
    "a run of no assistant": "UPDATE runs SET assistant_key = 99",
    "a step of no thread": "UPDATE steps SET thread_id = 'nobody'",
    "a second assistant of an id": "INSERT INTO assistants SELECT 99, assistant_id, {assistant} FROM assistants",
}
REST: Final = (
    "assistant_key, strategy, create_time, due_time, timeout, status, attempt, epoch, start_time, end_time, "
    "base_step, last_step, error_type, error_message, superseded_by, reason, input, metadata"
)
ASSISTANT: Final = "graph, create_time, metadata, config, reducers, max_attempts, stop_grace, run_timeout, delete_time"


@pytest.mark.parametrize("what", list(FORBIDDEN))
async def test_the_schema_itself_refuses(sqlite: SqliteHand, what: str) -> None:
    await sqlite.create()
    await sqlite.admit("r")
    await sqlite.claim()
    statement = FORBIDDEN[what].format(rest=REST, pending=REST.replace("status", "'pending'"), assistant=ASSISTANT)
    held = everything(sqlite.path)
    with pytest.raises(sqlite3.IntegrityError, match="constraint failed"):
        await sqlite.sqlite.writer.run(lambda connection: connection.execute(statement))
    assert everything(sqlite.path) == held
    assert not sqlite.sqlite.writer.in_transaction


# One schema after another

NEXT: Final = """
    ALTER TABLE threads ADD COLUMN title TEXT NOT NULL DEFAULT 'untitled';
    CREATE TABLE later (x TEXT) STRICT;
    INSERT INTO later SELECT thread_id FROM threads;
"""


def version(path: Path) -> object:
    return query(path, "PRAGMA user_version")


async def test_a_file_of_an_older_version_is_brought_up_to_date_with_all_it_holds(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    await sqlite.run_through("r", {"b": 2}, given={"a": 1})
    before = (await sqlite.record("r"), await sqlite.values(), await sqlite.events())
    held = everything(sqlite.path)
    await sqlite.store.close()
    known = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT))
    assert version(sqlite.path) == known
    for _ in range(2):
        sqlite.store = await opened(sqlite.path)
        assert version(sqlite.path) == known + 1
        assert (await sqlite.record("r"), await sqlite.values(), await sqlite.events()) == before
        now = everything(sqlite.path)
        assert now.pop("later") == [("t",)]
        assert now.pop("threads") == [(*row, "untitled") for row in held["threads"]]
        assert now == {table: rows for table, rows in held.items() if table != "threads"}
        await sqlite.store.close()


async def test_several_versions_are_caught_up_with_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await opens(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT, "ALTER TABLE later ADD COLUMN y TEXT"))
    await opens(path)
    assert version(path) == len(schema.MIGRATIONS)
    assert query(path, "SELECT count(y) FROM later") == 0
    fresh = path.with_name("fresh.db")
    await opens(fresh)
    assert query(fresh, "SELECT group_concat(sql) FROM sqlite_schema") == query(
        path, "SELECT group_concat(sql) FROM sqlite_schema"
    )


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE later (x); CREATE TABLE later (x)",
        "DROP TABLE events; SELECT no_such_column FROM threads",
        "DELETE FROM threads; INSERT INTO threads DEFAULT VALUES",
        "CREATE TABLE later (x); no SQL at all",
    ],
)
async def test_a_migration_that_fails_leaves_the_file_at_its_old_version_with_all_it_held(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    await sqlite.create("someone")
    await sqlite.run_through("r", {"b": 2}, thread_id="someone")
    await sqlite.close()
    held, known = everything(sqlite.path), len(schema.MIGRATIONS)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        await refusal(sqlite.path)
        assert version(sqlite.path) == known
        assert everything(sqlite.path) == held
    await opens(sqlite.path)


async def test_of_two_migrations_the_first_stays_when_the_second_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opens(path)
    known = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT, "no SQL at all"))
    await refusal(path)
    assert version(path) == known + 1
    assert tables_with(path, "someone") == []
    assert "later" in everything(path)


async def test_a_first_migration_that_fails_leaves_a_file_that_a_repaired_server_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(schema, "MIGRATIONS", (schema.MIGRATIONS[0] + "; no SQL at all",))
        await refusal(path)
        assert query(path, "SELECT count(*) FROM sqlite_schema") == 0
    await opens(path)
