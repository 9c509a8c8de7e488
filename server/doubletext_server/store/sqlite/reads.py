"""Readings of the database, each a function of one connection whose transaction the caller holds."""

import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from doubletext import jsontext
from doubletext_server.store.protocol import (
    LARGEST_PAGE,
    EventRecord,
    Page,
    RawState,
    RunRecord,
    State,
    Steer,
    ThreadRecord,
)
from doubletext_server.store.rows import (
    GIVEN,
    RUN,
    THREAD,
    TOMBSTONE,
    Row,
    read_change,
    read_event,
    read_run,
    read_step_reducers,
    read_thread,
    read_tombstone,
)
from doubletext_server.store.sqlite import queue
from doubletext_server.store.sqlite.sql import listed
from doubletext_statemachine.errors import EventsTrimmed, StepNotFound, ThreadNotFound
from doubletext_statemachine.model import Assistant, Json, Run, Tombstone
from doubletext_statemachine.queue import in_order, on_offer, started_run
from doubletext_statemachine.state import fold
from doubletext_statemachine.words import IN_FLIGHT, RunStatus, thread_status

Assistants = Mapping[int, Assistant]

# A thread with what its status is made of: the running run, how many are in flight, and the outcome of the run that
# finished last.
_THREAD_RECORD: Final = f"""
    SELECT {listed(THREAD)},
        (SELECT run_id FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'running'),
        (SELECT count(*) FROM runs WHERE runs.thread_id = threads.thread_id AND end_time IS NULL),
        (SELECT status FROM runs WHERE runs.thread_id = threads.thread_id AND end_time IS NOT NULL
         AND status <> 'merged' ORDER BY end_time DESC, sequence DESC LIMIT 1)
    FROM threads"""
_RUN_RECORD: Final = f"SELECT {listed(RUN + GIVEN)} FROM runs"
_THERE: Final = "thread_id NOT IN (SELECT thread_id FROM doomed)"
"""Of a row whose thread was not deleted. Rows of deleted threads are removed in slices."""
_TOMBSTONE: Final = f"SELECT {listed(TOMBSTONE)} FROM tombstones"


def thread(thread_id: str, connection: sqlite3.Connection) -> ThreadRecord:
    row = connection.execute(f"{_THREAD_RECORD} WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ThreadNotFound(thread_id=thread_id)
    return _thread_record(row)


def _thread_record(row: Row) -> ThreadRecord:
    *columns, active, flying, outcome = row
    status = thread_status(flying, outcome and RunStatus(outcome))
    return ThreadRecord(read_thread(tuple(columns)), status, active, flying - (active is not None))


def run(assistants: Assistants, now: int, run_id: str, connection: sqlite3.Connection) -> RunRecord | Tombstone | None:
    row = connection.execute(f"{_RUN_RECORD} WHERE run_id = ? AND {_THERE}", (run_id,)).fetchone()
    if row is not None:
        record = with_merged(connection, run_record(row, assistants))
        if record.run.status is not RunStatus.PENDING:
            return record
        return replace(record, queue_position=queue.position(connection, record.run, now))
    row = connection.execute(f"{_TOMBSTONE} WHERE run_id = ? AND {_THERE}", (run_id,)).fetchone()
    return row and read_tombstone(row)


def thread_of(run_id: str, connection: sqlite3.Connection) -> str | None:
    row = connection.execute(
        f"SELECT thread_id FROM runs WHERE run_id = ?1 AND {_THERE} "
        f"UNION ALL SELECT thread_id FROM tombstones WHERE run_id = ?1 AND {_THERE} "
        # A deleted record's, whose stopped attempt is still awaited.
        "UNION ALL SELECT thread_id FROM threads WHERE stopping_until IS NOT NULL AND stopping_run_id = ?1",
        (run_id,),
    ).fetchone()
    return row and str(row[0])


def run_record(row: Row, assistants: Assistants) -> RunRecord:
    *columns, given, metadata = row
    return RunRecord(read_run(tuple(columns), assistants), given, metadata)


def with_merged(connection: sqlite3.Connection, record: RunRecord) -> RunRecord:
    """The record with the runs that it took, and with the run that it has become part of in the end."""
    run = record.run
    if run.has_taken:
        record = replace(record, merged=queue.taken_ids(connection, run.run_id))
    if run.merged_into is not None:
        record = replace(record, run=run._replace(merged_into=queue.taker(connection, run.run_id)))
    return record


def steers(
    assistants: Assistants, now: int, thread_id: str, run_id: str, connection: sqlite3.Connection
) -> list[Steer]:
    runs = queue.steering(connection, thread_id, now, assistants)
    started = started_run(runs)
    if started is None or started.run_id != run_id:
        return []
    return taken([run.run_id for run in on_offer(runs, started, now)], connection)


def taken(run_ids: Sequence[str], connection: sqlite3.Connection) -> list[Steer]:
    rows = (
        connection.execute("SELECT run_id, sequence, revision, input FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        for run_id in run_ids
    )
    return [Steer(*row) for row in rows if row]


def places(connection: sqlite3.Connection, assistants: Assistants, now: int, thread_id: str) -> dict[str, int]:
    rows = connection.execute(f"SELECT {listed(RUN)} FROM runs WHERE thread_id = ? AND end_time IS NULL", (thread_id,))
    waiting = in_order([read_run(row, assistants) for row in rows], now)
    return {run.run_id: place for place, run in enumerate(waiting, 1)}


def placed(record: RunRecord, places: Mapping[str, int]) -> RunRecord:
    return replace(record, queue_position=places.get(record.run.run_id, 0))


def superseded_by(assistants: Assistants, run_id: str, connection: sqlite3.Connection) -> list[RunRecord | Tombstone]:
    rows = connection.execute(f"{_RUN_RECORD} WHERE superseded_by = ? ORDER BY sequence", (run_id,))
    buried = connection.execute(f"{_TOMBSTONE} WHERE superseded_by = ? ORDER BY create_time, run_id", (run_id,))
    return [*(with_merged(connection, run_record(row, assistants)) for row in rows), *map(read_tombstone, buried)]


def require_thread(connection: sqlite3.Connection, thread_id: str) -> tuple[int, int]:
    """The thread's newest step and when it was created. Raises ThreadNotFound."""
    row = connection.execute("SELECT last_step, create_time FROM threads WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is None:
        raise ThreadNotFound(thread_id=thread_id)
    last_step, create_time = row
    return last_step, create_time


def state(thread_id: str, step: int | None, connection: sqlite3.Connection) -> tuple[State, RawState]:
    last_step, create_time = require_thread(connection, thread_id)
    at = last_step if step is None else step
    if not 0 <= at <= last_step:
        raise StepNotFound(thread_id=thread_id, step=at, last_step=last_step)
    snapshot, updates = _stored(connection, thread_id, at)
    if updates:
        run_id, made, input_of = updates[-1][3:]
    else:
        run_id, made, input_of = connection.execute(
            "SELECT run_id, create_time, input_of FROM steps WHERE thread_id = ? AND step = ?", (thread_id, at)
        ).fetchone() or (None, create_time, None)
    raw = _raw(snapshot, updates)
    return State(thread_id, at, run_id, made, raw.text(), input_of), raw


def start_of(
    assistants: Assistants, now: int, thread_id: str, run_id: str, connection: sqlite3.Connection
) -> tuple[RunRecord | Tombstone | None, RawState]:
    last_step, _ = require_thread(connection, thread_id)
    return run(assistants, now, run_id, connection), _raw(*_stored(connection, thread_id, last_step))


def _stored(connection: sqlite3.Connection, thread_id: str, step: int) -> tuple[Json | None, list[Row]]:
    """The newest snapshot up to a step, and the steps since: update, reducers, rules, who made it and when."""
    snapshot = connection.execute(
        "SELECT step, body FROM snapshots WHERE thread_id = ? AND step <= ? ORDER BY step DESC LIMIT 1",
        (thread_id, step),
    ).fetchone()
    since, body = snapshot or (0, None)
    rows = connection.execute(
        "SELECT body, reducers, rules, run_id, create_time, input_of FROM steps "
        "WHERE thread_id = ? AND step > ? AND step <= ? ORDER BY step",
        (thread_id, since, step),
    )
    return body, rows.fetchall()


def _raw(snapshot: Json | None, updates: list[Row]) -> RawState:
    return RawState(
        snapshot, [(update, read_step_reducers(reducers), rules) for update, reducers, rules, *_ in updates]
    )


def states(thread_id: str, limit: int, after: list[Any] | None, connection: sqlite3.Connection) -> Page[State]:
    last_step, _ = require_thread(connection, thread_id)
    newest = min(after[0] - 1, last_step) if after else last_step
    oldest = max(newest - limit, 0) + 1
    values = jsontext.read(_raw(*_stored(connection, thread_id, oldest - 1)).text())
    steps = connection.execute(
        "SELECT step, run_id, create_time, input_of, body, reducers, rules FROM steps "
        "WHERE thread_id = ? AND step BETWEEN ? AND ? ORDER BY step",
        (thread_id, oldest, newest),
    )
    texts: deque[tuple[int, str | None, int, str, str | None]] = deque()
    size = 0
    for step, run_id, create_time, input_of, *change in steps:
        fold(values, [read_change(*change)])
        texts.append((step, run_id, create_time, text := jsontext.written(values), input_of))
        size += len(text)
        while size - len(texts[0][3]) >= LARGEST_PAGE:
            size -= len(texts.popleft()[3])
    found = [State(thread_id, *each) for each in reversed(texts)]
    return Page(found, [found[-1].step] if found and found[-1].step > 1 else None)


def events(
    thread_id: str, after: int, limit: int, run_id: str | None, connection: sqlite3.Connection
) -> list[EventRecord]:
    """A step's event gets its update from the step, as long as it is still that run's."""
    kept = connection.execute("SELECT first_event, last_step FROM threads WHERE thread_id = ?", (thread_id,)).fetchone()
    if kept is None:
        return []
    first, last_step = kept
    if after + 1 < first:
        raise EventsTrimmed(thread_id=thread_id, after_sequence=after, oldest_sequence=first)
    rows = connection.execute(
        "SELECT events.sequence, events.run_id, events.kind, events.step, events.body, steps.body, events.time "
        "FROM events LEFT JOIN steps ON steps.thread_id = events.thread_id AND steps.step = events.step "
        "AND steps.run_id IS events.run_id AND steps.step <= ? "
        f"WHERE events.thread_id = ? AND events.sequence > ? {'AND events.run_id = ?' if run_id else ''} "
        "ORDER BY events.sequence LIMIT ?",
        (last_step, thread_id, after, *([run_id] if run_id else []), limit),
    )
    records: list[EventRecord] = []
    size = 0
    for *columns, time in rows:
        event, data = read_event(tuple(columns))
        records.append(EventRecord(event, time, data))
        size += len(data or "")
        if size >= LARGEST_PAGE:
            break
    return records


def in_flight(connection: sqlite3.Connection) -> dict[RunStatus, int]:
    counts = connection.execute(
        f"SELECT status, count(*) FROM runs WHERE end_time IS NULL AND {_THERE} GROUP BY status"
    )
    return dict.fromkeys(IN_FLIGHT, 0) | {RunStatus(status): count for status, count in counts}


def last_part(run_id: str, connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT json_extract(body, '$[3]') FROM events WHERE run_id = ? AND kind = 'output' "
        "AND json_array_length(body) = 4 ORDER BY rowid DESC LIMIT 1",
        (run_id,),
    ).fetchone()
    return int(row[0]) if row else 0


def running(assistants: Assistants, connection: sqlite3.Connection) -> list[Run]:
    rows = connection.execute(
        f"SELECT {listed(RUN)} FROM runs INDEXED BY runs_in_flight WHERE end_time IS NULL AND status = 'running' "
        f"AND {_THERE}"
    )
    return [read_run(row, assistants) for row in rows]


def suspects(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT run_id, times_alone FROM suspects"))


def unsettled(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        f"SELECT thread_id FROM runs WHERE end_time IS NULL AND {_THERE} "
        "UNION SELECT thread_id FROM threads WHERE stopping_until IS NOT NULL"
    )
    return [thread_id for (thread_id,) in rows]
