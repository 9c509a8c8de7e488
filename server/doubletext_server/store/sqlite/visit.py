"""Reading a database file that a server may have open: from another process, without locking the file.

Never from the process that has it open: reading the header there would drop SQLite's locks (see `schema.lock_file`).
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from doubletext_server.store.sqlite.schema import CannotOpen, why_not_ours


@contextlib.contextmanager
def visit(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, and sees all the while what was committed when it was opened.

    Writers go on meanwhile; their log grows until it is closed. Raises CannotOpen when the file is none of ours, or
    cannot be read.
    """
    try:
        problem = why_not_ours(path)
    except OSError as error:
        problem = error.strerror
    if problem is not None:
        raise CannotOpen(f"cannot read {path}: {problem}; name a server's database, or a backup of one")
    with contextlib.closing(_connect(path)) as connection:
        yield connection


def _connect(path: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise CannotOpen(f"cannot read {path}: {error}") from error
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # only reading makes the snapshot
    except sqlite3.Error as error:
        connection.close()
        raise CannotOpen(f"cannot read {path}: {error}") from error
    return connection
