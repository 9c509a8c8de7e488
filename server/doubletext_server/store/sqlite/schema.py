"""The database file: how it is opened, whom it belongs to, and how its schema is brought up to date.

What the schema is stands in migrations/, one file a version.
"""

import contextlib
import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from doubletext_server.store.sqlite import labels

APPLICATION_ID: Final = 0x64_74_78_74
"""'dtxt', in the header of each of our files."""

LARGEST_LOG: Final = 4 * 1024 * 1024
"""Bytes to which the write-ahead log is cut when it begins anew. It usually has as many."""

JOURNAL: Final = bytes.fromhex("d9d505f920a163d7")
"""The first bytes of a rollback journal that SQLite will roll back."""

MIGRATIONS: Final = tuple(
    file.read_text("utf-8") for file in sorted(Path(__file__).with_name("migrations").glob("*.sql"))
)
"""Each brings a file from one version to the next, the first an empty file. A released one never changes."""


class CannotOpen(Exception):
    """The file is not one that this server may use; the message says why and what to do."""


def lock_file(path: str, mode: int = 0o600) -> int:
    """Lock the file for this process, and create it if it is not there. Returns the descriptor that holds the lock.

    The lock is flock's, which does not touch SQLite's own (fcntl). The descriptor must stay open until the last
    connection is closed: POSIX drops all of SQLite's locks when any descriptor of the file is closed.
    See docs/decisions/0009.

    mode  what others may do with the file, at most: a new file gets it, and SQLite's files beside it get the same

    Raises CannotOpen when another process has locked the file, when it cannot be opened, and when others may do more.
    """
    if path == ":memory:" or path.startswith("file:"):
        raise CannotOpen(f"{path} is no file, and what was accepted would be lost with the server; choose another --db")
    try:
        new = not os.path.exists(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if new:
            os.fchmod(descriptor, mode)
    except OSError as error:
        raise CannotOpen(f"cannot open the database {path}: {error.strerror}; choose another --db") from error
    found = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if found & 0o077 & ~mode:
        os.close(descriptor)
        raise CannotOpen(
            f"others may read or write the database {path} (its mode is {found:03o}), and it holds conversations: "
            f"run chmod {mode:03o} {path}, or say --db-mode {found:03o}"
        )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        pids = ", ".join(map(str, holders(path)))
        named = f" (process {pids})" if pids else ""
        raise CannotOpen(
            f"the database {path} is in use by another server{named}; stop that one first, or choose another --db"
        ) from None
    _locks.add(descriptor)
    return descriptor


_locks: Final[set[int]] = set()
"""The descriptors that hold locks. A forked child gets copies, which would hold the locks after this process."""


def unlock_file(descriptor: int) -> None:
    _locks.remove(descriptor)
    os.close(descriptor)


def _let_go() -> None:
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_let_go)


def holders(path: str) -> list[int]:
    """The other processes that have the file open, as far as this one may know: those of the same user, on Linux."""
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.path.samefile(path, descriptor):
                found.add(int(descriptor.parts[2]))
    return sorted(found - {os.getpid()})


def connect(path: str, *, read_only: bool) -> sqlite3.Connection:
    """A connection with the settings that every lane needs. Transactions are explicit."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # mutant: synced
    # Where fsync leaves data in the disk's cache: macOS. Elsewhere these two do nothing.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    # What a long reader has made the log grow to is given back once the reader has gone.
    connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
    # Overwrite what a rollback deletes, so that nothing of it stays in the file.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def prepare(path: str) -> None:
    """Check that the file is ours, and bring its schema up to date.

    Raises CannotOpen for a file of another program, or of a newer version of this one.
    """
    _check_owner(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            _check_version(connection, path)
            migrate(connection)
        except sqlite3.DatabaseError as error:
            raise CannotOpen(f"cannot use the database {path}: {error}; choose another --db") from error


def _check_owner(path: str) -> None:
    problem = why_not_ours(path)
    if problem is not None and os.path.getsize(path) and not _creation_was_cut_off(path):
        raise CannotOpen(f"cannot use the database {path}: {problem}; choose another --db")


def _creation_was_cut_off(path: str) -> bool:
    """Whether the power failed while the file was being created.

    Its first page never got to the disk, and the journal beside it says that the file was empty before. SQLite empties
    it again; nothing was ever committed to it.
    """
    with open(path, "rb") as file:
        if any(file.read(100)):
            return False
    try:
        with open(f"{path}-journal", "rb") as file:
            header = file.read(20)
    except FileNotFoundError:
        return False
    pages_before = header[16:]
    return header.startswith(JOURNAL) and pages_before == bytes(4)


def why_not_ours(path: str) -> str | None:
    """Why the file is no database of this program; None when it is one. Raises OSError.

    Reads the header (https://www.sqlite.org/fileformat.html) without SQLite: if another program left its file in the
    middle of a change, SQLite would repair it.
    """
    with open(path, "rb") as file:
        header = file.read(100)
    if not header:
        return "it is empty"
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return "it is not a database"
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        return "it is a database of another program"
    return None


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    version = _pragma(connection, "user_version")
    if version > len(MIGRATIONS):
        raise CannotOpen(
            f"{path} has schema version {version}, this server knows versions up to {len(MIGRATIONS)}; "
            "use the newer server that wrote it"
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database's schema up to date, an empty one's too. Each version is one transaction, which happens wholly
    or not at all. Raises sqlite3.IntegrityError for a migration that leaves rows referring to nothing."""
    connection.create_function("labels", 1, labels.as_json, deterministic=True)
    connection.execute("PRAGMA foreign_keys = OFF")  # a table that others refer to may be built anew
    connection.execute("PRAGMA secure_delete = ON")  # and what its old pages hold must not outlive the rows
    old = _pragma(connection, "user_version")
    dangling = _dangling(connection) if old < len(MIGRATIONS) else 0
    for version in range(old, len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {MIGRATIONS[version]};"
            f"PRAGMA user_version = {version + 1};"
        )
        if _dangling(connection) > dangling:
            raise sqlite3.IntegrityError(f"rows refer to nothing after migration {version + 1}")
        connection.execute("COMMIT")


def _dangling(connection: sqlite3.Connection) -> int:
    """How many rows refer to what is not there. A damaged file may have some, which `check` reports."""
    count: int = connection.execute("SELECT count(*) FROM pragma_foreign_key_check").fetchone()[0]
    return count


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
