"""All that the file holds of one thread, as one consistent reading: what tests/worker/checker.py judges."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doubletext_server.store.sqlite import reads


@dataclass(frozen=True)
class Event:
    """change  of a run's status: before, after, superseded_by, reason
    step    the number of a step that was committed; an event without either is an output
    """

    sequence: int
    run_id: str | None
    time: int
    change: tuple[str | None, str, str | None, str | None] | None = None
    step: int | None = None


@dataclass(frozen=True)
class Run:
    run_id: str
    sequence: int
    status: str
    due_time: int
    start_time: int | None
    end_time: int | None
    attempt: int
    max_attempts: int
    epoch: int
    base_step: int | None
    last_step: int
    superseded_by: str | None
    reason: str | None
    input: str


@dataclass(frozen=True)
class Grave:
    """A tombstone."""

    run_id: str
    superseded_by: str | None
    reason: str


@dataclass(frozen=True)
class Step:
    """`reducers`: None for the default ones."""

    step: int
    run_id: str | None
    update: str
    reducers: dict[str, str] | None = None


@dataclass(frozen=True)
class Record:
    """`status`, `state_step` and `state` are what the server answers; `draining` the run that is awaited."""

    thread_id: str
    last_sequence: int
    last_step: int
    last_event: int
    draining: str | None
    status: str
    runs: tuple[Run, ...]
    graves: tuple[Grave, ...]
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    state_step: int
    state: dict[str, Any]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection beside the server's, which may only read."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 10000")
        yield connection


def read(connection: sqlite3.Connection, thread_id: str) -> Record | None:
    """The thread as it is just now; None when there is none."""
    connection.execute("BEGIN")
    try:
        return _read(connection, thread_id)
    finally:
        connection.execute("COMMIT")


def threads(connection: sqlite3.Connection) -> list[str]:
    return [thread_id for (thread_id,) in connection.execute("SELECT thread_id FROM threads ORDER BY thread_id")]


def _read(connection: sqlite3.Connection, thread_id: str) -> Record | None:
    def rows(sql: str) -> sqlite3.Cursor:
        return connection.execute(sql, (thread_id,))

    thread = rows(
        "SELECT last_sequence, last_step, last_event, CASE WHEN stopping_until IS NOT NULL THEN stopping_run_id END "
        "FROM threads WHERE thread_id = ?"
    ).fetchone()
    if thread is None:
        return None
    runs = rows(
        "SELECT run_id, sequence, status, due_time, start_time, end_time, attempt, max_attempts, epoch, base_step, "
        "last_step, superseded_by, reason, input FROM runs JOIN assistants ON key = assistant_key "
        "WHERE thread_id = ? ORDER BY sequence"
    )
    graves = rows("SELECT run_id, superseded_by, reason FROM tombstones WHERE thread_id = ? ORDER BY run_id")
    steps = rows("SELECT step, run_id, body, reducers FROM steps WHERE thread_id = ? ORDER BY step")
    events = rows("SELECT sequence, run_id, time, kind, body, step FROM events WHERE thread_id = ? ORDER BY sequence")
    state, _ = reads.state(thread_id, None, connection)
    last_sequence, last_step, last_event, draining = thread
    return Record(
        thread_id=thread_id,
        last_sequence=last_sequence,
        last_step=last_step,
        last_event=last_event,
        draining=draining,
        status=reads.thread(thread_id, connection).status.value,
        runs=tuple(Run(*run) for run in runs),
        graves=tuple(Grave(*grave) for grave in graves),
        steps=tuple(Step(step, run, body, reducers and json.loads(reducers)) for step, run, body, reducers in steps),
        events=tuple(_event(*event) for event in events),
        state_step=state.step,
        state=state.values,
    )


def _event(sequence: int, run_id: str | None, time: int, kind: str, body: str | None, step: int | None) -> Event:
    if kind == "run_changed":
        before, after, superseded_by, reason = json.loads(body or "")
        return Event(sequence, run_id, time, change=(before, after, superseded_by, reason))
    return Event(sequence, run_id, time, step=step)
