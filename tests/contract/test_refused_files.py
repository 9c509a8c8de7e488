"""Files that are refused, and left as they were: other programs', broken ones, and where there is no permission."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.sqlite import schema
from tests.support.database_files import a_foreign_database, an_empty_file, beside, opens, query, refusal, untouched


def an_empty_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE gone (x); DROP TABLE gone;")
    assert path.stat().st_size


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
    for directory in (tmp_path, *tmp_path.parents):
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
        assert "the database" in await refusal(path, 0o666)
