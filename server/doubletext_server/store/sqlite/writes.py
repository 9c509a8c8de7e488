"""What the writer does for one request: load the view the arbiter decides on, and write the Decision."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from doubletext_server.store.sqlite import front, labels
from doubletext_server.store.sqlite.rows import (
    RUN,
    THREAD,
    TOMBSTONE,
    changing_columns,
    event_row,
    placeholders,
    read_run,
    read_tombstone,
    run_row,
    step_reducers,
    thread_row,
)
from doubletext_statemachine.arbiter import stops_all
from doubletext_statemachine.commands import AdmitRun, Command, CommitStep, RunCommand, UpdateState, UpdateThread
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Assistant, Json, Repeated, Run, ThreadView, Tombstone
from doubletext_statemachine.words import TERMINAL, RunStatus, thread_status

FINISHED: Final = TERMINAL - {RunStatus.DELETED}
OUTCOME: Final = (
    "SELECT outcome, (SELECT status FROM runs WHERE runs.thread_id = threads.thread_id AND end_time IS NOT NULL "
    "ORDER BY end_time DESC, sequence DESC LIMIT 1) FROM threads WHERE thread_id = ?"
)


ADD_THREAD: Final = f"INSERT INTO threads ({THREAD}, oldest_time, active_time) VALUES ({placeholders(THREAD)}, ?, ?)"
SET_THREAD: Final = (
    "UPDATE threads SET update_time = ?, metadata = ?, default_strategy = ?, max_queued_runs = ?, "
    "last_sequence = ?, last_step = ?, last_event = ?, stopping_run_id = ?, stopping_epoch = ?, stopping_until = ?, "
    "stopping_grace_until = ?, stopping_worker_id = ?, first_event = ? WHERE thread_id = ?"
)
ADD_RUN: Final = f"INSERT INTO runs ({RUN}, input, metadata) VALUES ({placeholders(RUN)}, ?, ?)"
ADD_EVENT: Final = (
    "INSERT INTO events (thread_id, sequence, run_id, time, kind, step, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def load_view(
    connection: sqlite3.Connection, request: Command, assistants: Mapping[int, Assistant], now: int
) -> ThreadView:
    thread, first = front.thread_and_first(connection, request.thread_id, assistants)
    if thread is None:
        return ThreadView(None)
    unlisted = unlisted_ahead = 0
    if stops_all(request, thread):
        runs = front.whole_line(connection, request.thread_id, first, assistants)
    else:
        runs = front.front(connection, request.thread_id, first, now, assistants)
        if len(runs) >= front.SHORT and isinstance(request, (AdmitRun, UpdateState)):
            unlisted = front.in_flight(connection, request.thread_id) - len(runs)
        if unlisted and isinstance(request, AdmitRun):
            # Those that are due later come after it. They are the end of the line, and `runs` is its beginning.
            unlisted_ahead = max(unlisted - front.due_later(connection, request.thread_id, now + request.delay), 0)
    return ThreadView(
        thread,
        runs,
        _named(connection, request, runs, assistants) if isinstance(request, RunCommand) else None,
        _repeated(connection, request) if isinstance(request, AdmitRun) and request.request_id else None,
        _committed_update(connection, request) if isinstance(request, CommitStep) and request.expected_step else None,
        unlisted,
        unlisted_ahead,
    )


def _named(
    connection: sqlite3.Connection, request: RunCommand, runs: tuple[Run, ...], assistants: Mapping[int, Assistant]
) -> Run | Tombstone | None:
    for run in runs:
        if run.run_id == request.run_id:
            return run
    key = (request.run_id, request.thread_id)
    row = connection.execute(f"SELECT {RUN} FROM runs WHERE run_id = ? AND thread_id = ?", key).fetchone()
    if row is not None:
        return read_run(row, assistants)
    row = connection.execute(f"SELECT {TOMBSTONE} FROM tombstones WHERE run_id = ? AND thread_id = ?", key).fetchone()
    return row and read_tombstone(row)


def _repeated(connection: sqlite3.Connection, request: AdmitRun) -> Repeated | None:
    row = connection.execute(
        "SELECT run_id, digest FROM requests WHERE thread_id = ? AND request_id = ?",
        (request.thread_id, request.request_id),
    ).fetchone()
    return row and Repeated(*row)


def _committed_update(connection: sqlite3.Connection, request: CommitStep) -> Json | None:
    """The update of the run's step of the number expected; its input, being the step after `base_step`, is none."""
    row = connection.execute(
        "SELECT body FROM steps JOIN runs USING (run_id) "
        "WHERE steps.thread_id = ? AND step = ? AND run_id = ? AND step > base_step + 1",
        (request.thread_id, request.expected_step, request.run_id),
    ).fetchone()
    return row and str(row[0])


def apply(connection: sqlite3.Connection, request: Command, decision: Decision, now: int) -> None:
    """Write a Decision, inside the caller's transaction."""
    if decision.deletes_thread:
        labels.remove_thread(connection, request.thread_id)
        connection.execute("DELETE FROM threads WHERE thread_id = ?", (request.thread_id,))
        return
    _write_thread(connection, request, decision)
    for run in decision.moved:
        if run.status is RunStatus.DELETED:
            _bury(connection, run, now)
        else:
            _write_move(connection, run)
    if decision.cut_to is not None:
        _cut(connection, request.thread_id, decision.cut_to, decision.moved)
    if decision.admitted is not None and isinstance(request, AdmitRun):
        _write_admission(connection, decision.admitted, request, now)
    _write_steps(connection, request.thread_id, decision, now)
    connection.executemany(ADD_EVENT, [event_row(request.thread_id, event, now) for event in decision.events])
    if decision.removes_run is not None:
        _delete_run(connection, decision.removes_run)
    if decision.removes_run is not None or any(run.status in FINISHED for run in decision.moved):
        _write_outcome(connection, request.thread_id)


def _write_thread(connection: sqlite3.Connection, request: Command, decision: Decision) -> None:
    assert decision.thread is not None
    row = thread_row(decision.thread)
    relabels = isinstance(request, UpdateThread) and "metadata" in request.changes
    if relabels:
        labels.remove_thread(connection, request.thread_id)
    if relabels or decision.creates_thread:
        labels.add_thread(connection, decision.thread)
    if decision.creates_thread:
        created = decision.thread.create_time
        connection.execute(ADD_THREAD, (*row, created, created))
        return
    connection.execute(SET_THREAD, (*row[2:], row[0]))


def _write_move(connection: sqlite3.Connection, run: Run) -> None:
    assert run.status is not None
    connection.execute(
        "UPDATE runs SET status = ?, attempt = ?, epoch = ?, start_time = ?, end_time = ?, base_step = ?, "
        "last_step = ?, error_type = ?, error_message = ?, superseded_by = ?, reason = ?, "
        "worker_id = ?, lease_expires = ?, outcome_digest = ?, first_event = ? WHERE run_id = ?",
        (run.status.value, *changing_columns(run), run.run_id),
    )


def _write_outcome(connection: sqlite3.Connection, thread_id: str) -> None:
    """Note what the thread's newest finished run leaves it as, for lists by status. Mostly it is what it was."""
    before, newest = connection.execute(OUTCOME, (thread_id,)).fetchone()
    outcome = thread_status(0, newest and RunStatus(newest)).value
    if outcome != before:
        connection.execute("UPDATE threads SET outcome = ? WHERE thread_id = ?", (outcome, thread_id))


def _delete_run(connection: sqlite3.Connection, run_id: str) -> None:
    thread_id, sequence, metadata = connection.execute(
        "DELETE FROM runs WHERE run_id = ? RETURNING thread_id, sequence, metadata", (run_id,)
    ).fetchone()
    labels.remove_run(connection, thread_id, sequence, metadata)


def _bury(connection: sqlite3.Connection, run: Run, now: int) -> None:
    """Delete a rolled-back run with its outputs and leave a tombstone. Its events stay, since they have numbers; a
    step's event has no content of its own."""
    assert run.reason is not None
    _delete_run(connection, run.run_id)
    connection.execute(
        "UPDATE events SET body = json_array(json_extract(body, '$[0]'), NULL) WHERE run_id = ? AND kind = 'output'",
        (run.run_id,),
    )
    connection.execute(
        f"INSERT INTO tombstones ({TOMBSTONE}) VALUES (?, ?, ?, ?, ?, ?)",
        (run.run_id, run.thread_id, run.superseded_by, run.reason.value, run.create_time, now),
    )


def _cut(connection: sqlite3.Connection, thread_id: str, cut_to: int, cut: list[Run]) -> None:
    """Delete the steps after `cut_to`. A run that ended without having run while they were there left a state of which
    this is what remains."""
    for table in ("steps", "snapshots"):
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ? AND step > ?", (thread_id, cut_to))
    since = min(run.create_time for run in cut)
    connection.execute(
        "UPDATE runs SET base_step = ? WHERE thread_id = ? AND end_time >= ? AND base_step > ? AND last_step = 0",
        (cut_to, thread_id, since, cut_to),
    )


def _write_admission(connection: sqlite3.Connection, run: Run, request: AdmitRun, now: int) -> None:
    connection.execute(ADD_RUN, (*run_row(run), request.input, request.metadata))
    labels.add_run(connection, run, request.metadata)
    if request.request_id is not None:
        connection.execute(
            "INSERT INTO requests (thread_id, request_id, run_id, digest, create_time) VALUES (?, ?, ?, ?, ?)",
            (run.thread_id, request.request_id, run.run_id, request.digest, now),
        )


def _write_steps(connection: sqlite3.Connection, thread_id: str, decision: Decision, now: int) -> None:
    for step in decision.steps:
        key = (thread_id, step.step, step.run_id, now, step_reducers(step.reducers))
        if step.update is None:
            connection.execute(
                "INSERT INTO steps (thread_id, step, run_id, create_time, reducers, body) "
                "SELECT ?, ?, ?, ?, ?, input FROM runs WHERE run_id = ?",
                (*key, step.run_id),
            )
        else:
            connection.execute(
                "INSERT INTO steps (thread_id, step, run_id, create_time, reducers, body) VALUES (?, ?, ?, ?, ?, ?)",
                (*key, step.update),
            )
