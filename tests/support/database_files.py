"""Database files: making them, opening them, and what opening left of them."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from doubletext_server.store.sqlite import schema
from doubletext_server.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock


def make_new(path: Path) -> None:
    """Make the empty file of a server, unless it is there: a copy, which is quicker than all the migrations."""
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(_empty())


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        path.touch()
        schema.prepare(str(path))
        return path.read_bytes()


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


async def refusal(path: Path, mode: int = 0o600) -> str:
    """What opening the file is refused with. It lets go of the lock and of its threads."""
    with no_thread_left(), pytest.raises(schema.CannotOpen) as refused:
        await SqliteStore.open(str(path), ManualClock(), mode)
    if is_file(path):
        schema.unlock_file(schema.lock_file(str(path), mode))
    message = str(refused.value)
    assert str(path) in message
    assert "choose another --db" in message or "newer server" in message
    return message


def query(path: Path, sql: str) -> object:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute(sql).fetchone()
        return row and row[0]


def content(path: Path) -> bytes:
    return path.read_bytes()


def is_file(path: Path) -> bool:
    return path.is_file()


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


def a_file_of_version_6(path: Path) -> None:
    """What a server of schema version 6 left behind when it was killed: its own dump, whole, of schema and rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(Path(__file__).with_name("version_6.sql").read_text("utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE songs (title); INSERT INTO songs VALUES ('mine');")
