"""A copy of the database file, made while a server serves it."""

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from doubletext_server.store.sqlite.schema import CannotOpen
from doubletext_server.store.sqlite.visit import visit

STEP: Final = 1024
"""Pages copied before Ctrl-C is heard again."""


class CannotBackUp(Exception):
    """No backup was made, and nothing is left of the attempt."""


def backup(path: str, target: str) -> int:
    """Copy the database at `path` to the new file `target`, and return its size in bytes.

    It holds all that was committed when the call began, needs no file beside it, and is on disk when this returns: it
    gets its name last. Never from the process that serves `path`. Raises CannotBackUp.
    """
    if os.path.lexists(target):
        raise CannotBackUp(f"{target} is there already; choose another name, or move it away")
    place = Path(target).absolute()
    try:
        with visit(path) as source, _draft(place) as (descriptor, draft):
            _copy(source, draft)
            _sync(descriptor)
            size = os.fstat(descriptor).st_size
            os.rename(draft, place)
            _sync_folder(place.parent)
            return size
    except CannotOpen as error:
        raise CannotBackUp(str(error)) from error
    except OSError as error:
        raise CannotBackUp(f"cannot write {target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise CannotBackUp(f"cannot back up {path} to {target}: {error}") from error


@contextlib.contextmanager
def _draft(place: Path) -> Iterator[tuple[int, str]]:
    """A file beside `place`, for its owner only, which is gone afterwards unless it was renamed."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent)
    try:
        yield descriptor, draft
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def _copy(source: sqlite3.Connection, draft: str) -> None:
    """One reading transaction goes through all steps, since a copy starts anew when another connection has written
    between two transactions."""
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # the caller syncs the whole
        source.backup(copy, pages=STEP)
        # The header's word for WAL came along, with which a reader would need, and leave, files beside this one.
        copy.execute("PRAGMA journal_mode = DELETE")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Let the file be on the disk. On macOS, fsync leaves it in the disk's cache."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)
