"""A thread's queue in the database: its head, its length, and the position of a run in it.

The order is that of doubletext_statemachine.queue: the run that was handed back, the due ones by sequence, the delayed
ones by when they are due. What is read here does not grow with the queue, except for counts and for delayed runs that
are passed over: these are steps in an index.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from doubletext_server.store.rows import RUN, THREAD, read_run, read_thread
from doubletext_server.store.sqlite.sql import listed, listed_of
from doubletext_statemachine.model import Assistant, Run, Thread

_WIDTH: Final = len(THREAD)
HEAD: Final = 3
"""With fewer runs in flight than this, all of them are read; otherwise, perhaps only the head of the queue."""

WHOLE: Final = f"SELECT {listed(RUN)} FROM runs WHERE thread_id = ? AND end_time IS NULL ORDER BY sequence"
THREAD_AND_FIRST: Final = (
    f"SELECT {listed_of('threads', THREAD)}, {listed_of('runs', RUN)} "
    "FROM threads LEFT JOIN runs INDEXED BY runs_in_flight ON runs.thread_id = threads.thread_id AND end_time IS NULL "
    f"WHERE threads.thread_id = ? ORDER BY sequence LIMIT {HEAD}"
)
# One of them may be running, or was handed back: two are left that have not started.
FIRST_DUE: Final = (
    f"SELECT {listed(RUN)} FROM runs INDEXED BY runs_in_flight "
    f"WHERE thread_id = ? AND end_time IS NULL AND due_time <= ? ORDER BY sequence LIMIT {HEAD}"
)
_DELAYED: Final = (
    "FROM runs INDEXED BY runs_delayed WHERE thread_id = ? AND end_time IS NULL AND due_time > create_time"
)
FIRST_DELAYED: Final = f"SELECT {listed(RUN)} {_DELAYED} AND due_time > ? ORDER BY due_time, sequence LIMIT {HEAD}"
_STARTED: Final = (
    "FROM runs INDEXED BY runs_one_started "
    "WHERE thread_id = ? AND (status = 'running' OR status = 'pending' AND base_step IS NOT NULL)"
)
STARTED: Final = f"SELECT {listed(RUN)} {_STARTED}"

IN_FLIGHT: Final = "SELECT count(*) FROM runs INDEXED BY runs_in_flight WHERE thread_id = ? AND end_time IS NULL"
ADMITTED_BEFORE: Final = f"{IN_FLIGHT} AND sequence < ?"
DELAYED_BEFORE: Final = f"SELECT count(*) {_DELAYED} AND due_time > ? AND sequence < ?"
DUE_LATER: Final = f"SELECT count(*) {_DELAYED} AND due_time > ?"
NOT_BEFORE: Final = f"SELECT count(*) {_DELAYED} AND (due_time, sequence) >= (?, ?)"
WHO_STARTED: Final = f"SELECT status = 'running', sequence {_STARTED}"


def thread_and_first(
    connection: sqlite3.Connection, thread_id: str, assistants: Mapping[int, Assistant]
) -> tuple[Thread | None, list[Run]]:
    """The thread, and its first HEAD runs in flight by sequence. One statement, since most decisions need no other."""
    rows = connection.execute(THREAD_AND_FIRST, (thread_id,)).fetchall()
    if not rows:
        return None, []
    return read_thread(rows[0][:_WIDTH]), [
        read_run(row[_WIDTH:], assistants) for row in rows if row[_WIDTH] is not None
    ]


def whole(
    connection: sqlite3.Connection, thread_id: str, first: list[Run], assistants: Mapping[int, Assistant]
) -> tuple[Run, ...]:
    if len(first) < HEAD:
        return tuple(first)
    return tuple([read_run(row, assistants) for row in connection.execute(WHOLE, (thread_id,))])


def head(
    connection: sqlite3.Connection, thread_id: str, first: list[Run], now: int, assistants: Mapping[int, Assistant]
) -> tuple[Run, ...]:
    """What model.ThreadView promises of `runs`, and all in flight if they are less than HEAD. Those of them that are
    pending are the first of the queue, however many they are."""

    def read(statement: str, *values: Any) -> list[Run]:
        return [read_run(row, assistants) for row in connection.execute(statement, (thread_id, *values))]

    runs = first
    if len(runs) < HEAD:
        return tuple(runs)
    if any(run.due_time > now for run in runs):
        runs = read(FIRST_DUE, now)
        if len(runs) < HEAD:
            runs += read(FIRST_DELAYED, now)
    if all(run.base_step is None for run in runs):
        runs += read(STARTED)
    return tuple(sorted(runs, key=lambda run: run.sequence))


def in_flight(connection: sqlite3.Connection, thread_id: str) -> int:
    return _count(connection, IN_FLIGHT, thread_id)


def due_later(connection: sqlite3.Connection, thread_id: str, due_time: int) -> int:
    """How many pending runs come after one that is admitted now and due then."""
    return _count(connection, DUE_LATER, thread_id, due_time)


def position(connection: sqlite3.Connection, run: Run, now: int) -> int:
    """A pending run's position in the queue, from 1."""
    if run.base_step is not None:
        return 1
    is_running, started = connection.execute(WHO_STARTED, (run.thread_id,)).fetchone() or (False, None)
    now = max(now, run.create_time)  # it may have been admitted since the caller looked at the clock
    if run.due_time > now:
        before = in_flight(connection, run.thread_id) - is_running
        return 1 + before - _count(connection, NOT_BEFORE, run.thread_id, run.due_time, run.sequence)
    before = _count(connection, ADMITTED_BEFORE, run.thread_id, run.sequence)
    before -= _count(connection, DELAYED_BEFORE, run.thread_id, now, run.sequence)
    if started is not None:  # a running one has left the queue, one that was handed back comes before all
        before += (not is_running) - (started < run.sequence)
    return 1 + before


def _count(connection: sqlite3.Connection, statement: str, *values: Any) -> int:
    (count,) = connection.execute(statement, values).fetchone()
    return int(count)
