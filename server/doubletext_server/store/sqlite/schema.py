"""The database file: its schema, how it is opened, and whom it belongs to.

A migration is never changed once released; the next one is added below it.
"""

import contextlib
import fcntl
import os
import sqlite3
from typing import Final

from doubletext_server.store.sqlite import labels

APPLICATION_ID: Final = 0x64_74_78_74
"""'dtxt', in the header of each of our files."""

JOURNAL: Final = bytes.fromhex("d9d505f920a163d7")
"""How a rollback journal begins that is to be rolled back."""

MIGRATIONS: Final = (
    """
    CREATE TABLE assistants (
        key           INTEGER PRIMARY KEY,
        assistant_id  TEXT NOT NULL,
        graph         TEXT NOT NULL,
        create_time   INTEGER NOT NULL,
        metadata      TEXT NOT NULL,
        config        TEXT NOT NULL,
        reducers      TEXT NOT NULL,
        max_attempts  INTEGER NOT NULL CHECK (max_attempts > 0),
        stop_grace    INTEGER NOT NULL CHECK (stop_grace >= 0),
        run_timeout   INTEGER CHECK (run_timeout > 0),
        delete_time   INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX assistants_by_id ON assistants (assistant_id) WHERE delete_time IS NULL;

    CREATE TABLE threads (
        thread_id         TEXT PRIMARY KEY,
        create_time       INTEGER NOT NULL,
        update_time       INTEGER NOT NULL,
        metadata          TEXT NOT NULL,
        default_strategy  TEXT CHECK (default_strategy IN ('reject', 'interrupt', 'rollback', 'enqueue')),
        max_queued_runs   INTEGER CHECK (max_queued_runs > 0),
        last_sequence     INTEGER NOT NULL,
        last_step         INTEGER NOT NULL,
        last_event        INTEGER NOT NULL,
        drain_run_id      TEXT,
        drain_epoch       INTEGER,
        drain_until       INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX threads_by_age ON threads (create_time, thread_id);
    CREATE INDEX threads_draining ON threads (thread_id) WHERE drain_until IS NOT NULL;

    CREATE TABLE runs (
        run_id         TEXT PRIMARY KEY,
        thread_id      TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        sequence       INTEGER NOT NULL,
        assistant_key  INTEGER NOT NULL REFERENCES assistants,
        strategy       TEXT NOT NULL CHECK (strategy IN ('reject', 'interrupt', 'rollback', 'enqueue')),
        create_time    INTEGER NOT NULL,
        due_time       INTEGER NOT NULL,
        timeout        INTEGER,
        status         TEXT NOT NULL CHECK (
                           status IN ('pending', 'running', 'interrupted', 'success', 'error', 'timeout')),
        attempt        INTEGER NOT NULL,
        epoch          INTEGER NOT NULL,
        start_time     INTEGER,
        end_time       INTEGER CHECK ((end_time IS NULL) = (status IN ('pending', 'running'))),
        base_step      INTEGER,
        last_step      INTEGER NOT NULL,
        error_type     TEXT,
        error_message  TEXT,
        superseded_by  TEXT,
        reason         TEXT,
        input          TEXT NOT NULL,
        metadata       TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX runs_by_sequence ON runs (thread_id, sequence);
    CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 'running';
    CREATE INDEX runs_in_flight ON runs (thread_id, sequence) WHERE end_time IS NULL;
    CREATE INDEX runs_finished ON runs (thread_id, end_time, sequence) WHERE end_time IS NOT NULL;
    CREATE INDEX runs_superseded ON runs (superseded_by) WHERE superseded_by IS NOT NULL;

    -- Tables with rowids, steps and events grow at their end only: no page of theirs is split, by which SQLite leaves
    -- copies of rows behind that secure_delete does not know of.
    CREATE TABLE steps (
        thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        step         INTEGER NOT NULL,
        run_id       TEXT,
        create_time  INTEGER NOT NULL,
        reducers     TEXT,
        body         TEXT NOT NULL,
        PRIMARY KEY (thread_id, step)
    ) STRICT;

    CREATE TABLE snapshots (
        thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        step       INTEGER NOT NULL,
        body       TEXT NOT NULL,
        PRIMARY KEY (thread_id, step)
    ) STRICT;

    CREATE TABLE events (
        thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        sequence   INTEGER NOT NULL,
        run_id     TEXT,
        time       INTEGER NOT NULL,
        kind       TEXT NOT NULL CHECK (kind IN ('run_changed', 'step_committed', 'output')),
        step       INTEGER,
        body       TEXT,
        PRIMARY KEY (thread_id, sequence)
    ) STRICT;
    CREATE INDEX events_outputs ON events (run_id) WHERE kind = 'output';

    CREATE TABLE tombstones (
        run_id         TEXT PRIMARY KEY,
        thread_id      TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        superseded_by  TEXT,
        reason         TEXT NOT NULL,
        create_time    INTEGER NOT NULL,
        delete_time    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tombstones_by_thread ON tombstones (thread_id);
    CREATE INDEX tombstones_superseded ON tombstones (superseded_by) WHERE superseded_by IS NOT NULL;

    CREATE TABLE requests (
        thread_id    TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        request_id   TEXT NOT NULL,
        run_id       TEXT NOT NULL,
        digest       TEXT NOT NULL,
        create_time  INTEGER NOT NULL,
        PRIMARY KEY (thread_id, request_id)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE runs ADD COLUMN worker_id TEXT;
    ALTER TABLE runs ADD COLUMN lease_expires INTEGER CHECK (lease_expires IS NULL OR status = 'running');
    ALTER TABLE runs ADD COLUMN outcome_digest TEXT;
    ALTER TABLE threads ADD COLUMN drain_grace_until INTEGER;
    ALTER TABLE threads ADD COLUMN drain_worker_id TEXT;
    UPDATE threads SET drain_grace_until = drain_until WHERE drain_until IS NOT NULL;
    """,
    """
    ALTER TABLE runs ADD COLUMN first_event INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE threads ADD COLUMN first_event INTEGER NOT NULL DEFAULT 1;
    """,
    # Where retention looks next: neither column is written with each change. No event of a thread is older than its
    # oldest_time, and it was not idle before its active_time.
    """
    ALTER TABLE threads ADD COLUMN oldest_time INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE threads ADD COLUMN active_time INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX threads_by_oldest ON threads (oldest_time);
    CREATE INDEX threads_by_active ON threads (active_time);
    """,
    # What lists are served from. A thread's outcome says what its newest finished run left it as; it is for finding
    # threads by their status, which itself is always read from the runs. thread_labels would need an index of its own
    # to refer to threads: the writer, which knows the labels, deletes them.
    """
    ALTER TABLE threads ADD COLUMN outcome TEXT NOT NULL DEFAULT 'idle'
        CHECK (outcome IN ('idle', 'interrupted', 'error'));
    UPDATE threads SET outcome = coalesce(
        (SELECT CASE status WHEN 'success' THEN 'idle' WHEN 'timeout' THEN 'error' ELSE status END FROM runs
         WHERE runs.thread_id = threads.thread_id AND end_time IS NOT NULL
         ORDER BY end_time DESC, sequence DESC LIMIT 1), 'idle');
    DROP INDEX threads_by_age;
    CREATE INDEX threads_by_outcome ON threads (outcome, create_time, thread_id);
    CREATE INDEX runs_by_status ON runs (thread_id, status, sequence) WHERE end_time IS NOT NULL;

    CREATE TABLE thread_labels (
        label        TEXT NOT NULL,
        create_time  INTEGER NOT NULL,
        thread_id    TEXT NOT NULL,
        PRIMARY KEY (label, create_time, thread_id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO thread_labels SELECT value, create_time, thread_id FROM threads, json_each(labels(metadata))
        WHERE metadata <> '{}';

    CREATE TABLE run_labels (
        thread_id  TEXT NOT NULL REFERENCES threads ON DELETE CASCADE,
        label      TEXT NOT NULL,
        sequence   INTEGER NOT NULL,
        PRIMARY KEY (thread_id, label, sequence)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO run_labels SELECT thread_id, value, sequence FROM runs, json_each(labels(metadata))
        WHERE metadata <> '{}';
    """,
    # What the front of a line is read from: due_time beside the sequence, to pass over delayed runs without reading
    # them; the delayed ones by when they are due; and the one that has started, be it running or handed back. A thread
    # has one of these at most, since nothing else starts before it has ended.
    """
    DROP INDEX runs_in_flight;
    CREATE INDEX runs_in_flight ON runs (thread_id, sequence, due_time) WHERE end_time IS NULL;
    CREATE INDEX runs_delayed ON runs (thread_id, due_time, sequence) WHERE end_time IS NULL AND due_time > create_time;
    DROP INDEX runs_one_running;
    CREATE UNIQUE INDEX runs_one_started ON runs (thread_id)
        WHERE status = 'running' OR status = 'pending' AND base_step IS NOT NULL;
    """,
)


class CannotOpen(Exception):
    """The file is not one that this server may use; the message says why and what to do."""


def own(path: str) -> int:
    """Take the file for this process, creating it if need be, and return the descriptor that holds it.

    The lock is flock's, beside which SQLite's own (fcntl) live undisturbed. The descriptor must stay open until the
    last connection is closed: POSIX drops all of SQLite's locks when any descriptor of the file is closed.
    See docs/decisions/0009.

    Raises CannotOpen when another process has the file, or it cannot be opened.
    """
    if path == ":memory:" or path.startswith("file:"):
        raise CannotOpen(f"{path} is no file, and what was accepted would be lost with the server; choose another --db")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotOpen(f"cannot open the database {path}: {error.strerror}; choose another --db") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotOpen(
            f"the database {path} is in use by another server; stop that one first, or choose another --db"
        ) from None
    return descriptor


def connect(path: str, *, read_only: bool) -> sqlite3.Connection:
    """A connection as every lane uses it. Explicit transactions only."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return connection
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # What a rollback deletes is overwritten, not only unlinked.
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
    problem = strange(path)
    if problem is not None and os.path.getsize(path) and not _half_made(path):
        raise CannotOpen(f"cannot use the database {path}: {problem}; choose another --db")


def _half_made(path: str) -> bool:
    """Whether the power failed while the file was being made: its first page never got to the disk, and the journal
    beside it says that it was empty before. SQLite empties it again; nobody's data was ever committed there."""
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


def strange(path: str) -> str | None:
    """Why the file is none of ours, None when it is one.

    Looks at the header (https://www.sqlite.org/fileformat.html) without SQLite, which would finish, in another
    program's file, what that program has left undone. Raises OSError.
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
    """Bring a database's schema up to date, an empty one's too."""
    connection.create_function("labels", 1, labels.as_json, deterministic=True)
    for version in range(_pragma(connection, "user_version"), len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {MIGRATIONS[version]};"
            f"PRAGMA user_version = {version + 1}; COMMIT;"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
