"""The events of a thread, read from the file beside the server that has it open."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """change  of a run's status: before, after, superseded_by, reason
    step    the number of a step that was committed; an event without either is of another kind
    """

    sequence: int
    run_id: str | None
    time: int
    change: tuple[str | None, str, str | None, str | None] | None = None
    step: int | None = None
    kind: str = ""


@contextmanager
def reading(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A connection beside the server's, which may only read. What is read with it is of one moment."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("BEGIN")
        yield connection


def events(connection: sqlite3.Connection, thread_id: str) -> tuple[Event, ...]:
    sql = "SELECT sequence, run_id, time, kind, body, step FROM events WHERE thread_id = ? ORDER BY sequence"
    return tuple(_event(*row) for row in connection.execute(sql, (thread_id,)))


def _event(sequence: int, run_id: str | None, time: int, kind: str, body: str | None, step: int | None) -> Event:
    if kind == "run_changed":
        before, after, superseded_by, reason, *_ = json.loads(body or "")
        return Event(sequence, run_id, time, change=(before, after, superseded_by, reason))
    return Event(sequence, run_id, time, step=step, kind=kind)
