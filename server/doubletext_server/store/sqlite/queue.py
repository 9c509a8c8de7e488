"""A thread's queue in the database: its head, its length, and the position of a run in it.

The order is that of doubletext_statemachine.queue: the run that was handed back, the due ones by rank, the delayed ones
by when they are due. A rank is mostly that of the run's admission, so that the order of sequences is its order; runs
with another rank were *placed*, and have an index of their own.

What is read here does not grow with the queue, except for counts and for delayed runs that are passed over: these are
steps in an index.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from doubletext_server.store.rows import RUN, THREAD, read_run, read_thread
from doubletext_server.store.sqlite.sql import listed, listed_of
from doubletext_statemachine.model import RANKS, Assistant, Run, Thread
from doubletext_statemachine.queue import has_expired

_WIDTH: Final = len(THREAD)
HEAD: Final = 3
"""With fewer runs in flight than this, all of them are read; otherwise, perhaps only the head of the queue."""

WHOLE: Final = f"SELECT {listed(RUN)} FROM runs WHERE thread_id = ? AND end_time IS NULL ORDER BY sequence"
THREAD_AND_FIRST: Final = (
    f"SELECT {listed_of('threads', THREAD)}, {listed_of('runs', RUN)} "
    "FROM threads LEFT JOIN runs INDEXED BY runs_in_flight ON runs.thread_id = threads.thread_id AND end_time IS NULL "
    f"WHERE threads.thread_id = ? ORDER BY sequence LIMIT {HEAD}"
)
_IN_TIME: Final = "coalesce(expire_time > ?, 1)"
"""It has not expired: those that have are over before the next one starts, however many they are."""
_NOT_PLACED: Final = f"rank = sequence * {RANKS}"
_PLACED: Final = (
    f"FROM runs INDEXED BY runs_placed WHERE thread_id = ? AND end_time IS NULL AND rank <> sequence * {RANKS}"
)
# One of them may be running, or was handed back: two are left that have not started.
FIRST_DUE: Final = (
    f"SELECT {listed(RUN)} FROM runs INDEXED BY runs_in_flight "
    f"WHERE thread_id = ? AND end_time IS NULL AND due_time <= ? AND {_IN_TIME} AND {_NOT_PLACED} "
    f"ORDER BY sequence LIMIT {HEAD}"
)
FIRST_PLACED: Final = f"SELECT {listed(RUN)} {_PLACED} AND due_time <= ? AND {_IN_TIME} ORDER BY rank LIMIT {HEAD}"
_EXPIRING: Final = "FROM runs INDEXED BY runs_expiring WHERE thread_id = ? AND end_time IS NULL"
EXPIRED: Final = f"SELECT {listed(RUN)} {_EXPIRING} AND expire_time <= ? AND base_step IS NULL"
FIRST_TO_EXPIRE: Final = (
    f"SELECT {listed(RUN)} {_EXPIRING} AND expire_time > ? AND base_step IS NULL ORDER BY expire_time LIMIT 2"
)
_DELAYED: Final = (
    "FROM runs INDEXED BY runs_delayed WHERE thread_id = ? AND end_time IS NULL AND due_time > create_time"
)
FIRST_DELAYED: Final = (
    f"SELECT {listed(RUN)} {_DELAYED} AND due_time > ? ORDER BY due_time, rank, sequence LIMIT {HEAD}"
)
_STEERING: Final = (
    "FROM runs INDEXED BY runs_steering "
    "WHERE thread_id = ? AND end_time IS NULL AND base_step IS NULL AND strategy = 'steer'"
)
STEERING: Final = f"SELECT {listed(RUN)} {_STEERING} AND due_time <= ?"
ONE_THAT_STEERS: Final = f"{STEERING} LIMIT 1"
NEXT_TO_STEER: Final = f"SELECT {listed(RUN)} {_STEERING} AND due_time > ? ORDER BY due_time LIMIT 1"
_STARTED: Final = (
    "FROM runs INDEXED BY runs_one_started "
    "WHERE thread_id = ? AND (status = 'running' OR status = 'pending' AND base_step IS NOT NULL)"
)
STARTED: Final = f"SELECT {listed(RUN)} {_STARTED}"

IN_FLIGHT: Final = "SELECT count(*) FROM runs INDEXED BY runs_in_flight WHERE thread_id = ? AND end_time IS NULL"
ADMITTED_BEFORE: Final = f"{IN_FLIGHT} AND sequence < ?"
PLACED_BEFORE: Final = f"SELECT count(*) {_PLACED} AND rank < ?"
PLACED_SINCE: Final = f"SELECT count(*) {_PLACED} AND sequence < ?"
DELAYED_BEFORE: Final = f"SELECT count(*) {_DELAYED} AND due_time > ? AND rank < ?"
DUE_LATER: Final = f"SELECT count(*) {_DELAYED} AND due_time > ?"
NOT_BEFORE: Final = f"SELECT count(*) {_DELAYED} AND (due_time, rank, sequence) >= (?, ?, ?)"
MERGED: Final = (
    "SELECT coalesce(sum(merges), 0) FROM runs INDEXED BY runs_taking "
    "WHERE thread_id = ? AND merges > 0 AND end_time IS NULL"
)
WHO_STARTED: Final = f"SELECT status = 'running', rank {_STARTED}"

_TAKEN: Final = (
    "WITH RECURSIVE taken (run_id) AS (SELECT run_id FROM runs WHERE merged_into = ? "
    "UNION ALL SELECT runs.run_id FROM runs JOIN taken ON runs.merged_into = taken.run_id) "
)
TAKEN_RUNS: Final = f"{_TAKEN} SELECT {listed_of('runs', RUN)} FROM runs JOIN taken USING (run_id) ORDER BY sequence"
TAKEN_IDS: Final = f"{_TAKEN} SELECT run_id FROM runs JOIN taken USING (run_id) ORDER BY sequence"
TAKER: Final = (
    "WITH RECURSIVE up (run_id, depth) AS (SELECT ?, 0 UNION ALL SELECT runs.merged_into, depth + 1 "
    "FROM runs JOIN up USING (run_id) WHERE runs.merged_into IS NOT NULL) "
    "SELECT run_id FROM up ORDER BY depth DESC LIMIT 1"
)


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
    """What model.ThreadView promises of `runs`, and all in flight if they are less than HEAD.

    Delayed ones are among them only where fewer than HEAD are due, or where they are about to expire.
    """

    def read(statement: str, *values: Any) -> list[Run]:
        return [read_run(row, assistants) for row in connection.execute(statement, (thread_id, *values))]

    runs = first
    if len(runs) < HEAD:
        return tuple(runs)
    if any(run.due_time > now or run.rank != run.sequence * RANKS or has_expired(run, now) for run in runs):
        runs = read(FIRST_DUE, now, now)
    runs = runs + read(FIRST_PLACED, now, now)
    if len(runs) < HEAD:
        runs += read(FIRST_DELAYED, now)
    runs += read(EXPIRED, now) + read(FIRST_TO_EXPIRE, now)
    if all(run.base_step is None for run in runs):
        runs += read(STARTED)
    runs += read(ONE_THAT_STEERS, now) + read(NEXT_TO_STEER, now)
    found = {run.run_id: run for run in runs}
    return tuple(sorted(found.values(), key=lambda run: run.sequence))


def steering(
    connection: sqlite3.Connection, thread_id: str, now: int, assistants: Mapping[int, Assistant]
) -> list[Run]:
    """The run that has started and those that are due and steer, whichever assistant they have."""
    started = [read_run(row, assistants) for row in connection.execute(STARTED, (thread_id,))]
    return started + [read_run(row, assistants) for row in connection.execute(STEERING, (thread_id, now))]


def taken(connection: sqlite3.Connection, run_id: str, assistants: Mapping[int, Assistant]) -> tuple[Run, ...]:
    """The runs that were merged into it, directly or by way of others."""
    return tuple([read_run(row, assistants) for row in connection.execute(TAKEN_RUNS, (run_id,))])


def taken_ids(connection: sqlite3.Connection, run_id: str) -> tuple[str, ...]:
    return tuple([taken for (taken,) in connection.execute(TAKEN_IDS, (run_id,))])


def taker(connection: sqlite3.Connection, run_id: str) -> str:
    """The run that a merged run has become part of in the end."""
    (found,) = connection.execute(TAKER, (run_id,)).fetchone()
    return str(found)


def in_flight(connection: sqlite3.Connection, thread_id: str) -> int:
    return _count(connection, IN_FLIGHT, thread_id)


def in_flight_and_merges(connection: sqlite3.Connection, thread_id: str) -> tuple[int, int]:
    """How many runs are in flight, and how many they have taken."""
    merges = _count(connection, MERGED, thread_id)
    return in_flight(connection, thread_id), merges


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
        return 1 + before - _count(connection, NOT_BEFORE, run.thread_id, run.due_time, run.rank, run.sequence)
    sequence = -(-run.rank // RANKS)  # runs that were not placed go before it if theirs is less
    before = _count(connection, ADMITTED_BEFORE, run.thread_id, sequence)
    before += _count(connection, PLACED_BEFORE, run.thread_id, run.rank)
    before -= _count(connection, PLACED_SINCE, run.thread_id, sequence)
    before -= _count(connection, DELAYED_BEFORE, run.thread_id, now, run.rank)
    if started is not None:  # a running one has left the queue, one that was handed back comes before all
        before += (not is_running) - (started < run.rank)
    return 1 + before


def _count(connection: sqlite3.Connection, statement: str, *values: Any) -> int:
    (count,) = connection.execute(statement, values).fetchone()
    return int(count)
