"""Loading what the arbiter decides on: a thread, its runs as far as they matter, and what the command names."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Final

from doubletext.jsontext import canonical
from doubletext_server.store.rows import RUN, TOMBSTONE, read_run, read_tombstone
from doubletext_server.store.sqlite import queue
from doubletext_server.store.sqlite.sql import listed
from doubletext_statemachine.arbiter import needs_all
from doubletext_statemachine.commands import (
    AdmitRun,
    CancelRun,
    CancelRuns,
    ClaimRun,
    Command,
    CommitStep,
    DeleteRun,
    DeleteThread,
    RunCommand,
    UpdateRun,
    UpdateState,
)
from doubletext_statemachine.model import Assistant, Committed, Json, Repeated, Run, ThreadView, Tombstone

RUN_BY_KEY: Final = f"SELECT {listed(RUN)} FROM runs WHERE run_id = ? AND thread_id = ?"
TOMBSTONE_BY_KEY: Final = f"SELECT {listed(TOMBSTONE)} FROM tombstones WHERE run_id = ? AND thread_id = ?"


def load_view(
    connection: sqlite3.Connection, command: Command, assistants: Mapping[int, Assistant], now: int
) -> ThreadView:
    thread, first = queue.thread_and_first(connection, command.thread_id, assistants)
    if thread is None:
        return ThreadView(None)
    unlisted = unlisted_ahead = unlisted_merges = 0
    whole = needs_all(command, thread) or len(first) < queue.HEAD
    if whole:
        runs = queue.whole(connection, command.thread_id, first, assistants)
    else:
        runs = queue.head(connection, command.thread_id, first, now, assistants)
        if isinstance(command, (AdmitRun, UpdateState)):
            in_flight, merges = queue.in_flight_and_merges(connection, command.thread_id)
            unlisted, unlisted_merges = in_flight - len(runs), merges - sum(run.merges for run in runs)
        if unlisted and isinstance(command, AdmitRun):
            # Those that are due later come after it. They are the end of the queue, and `runs` is its head.
            unlisted_ahead = max(unlisted - queue.due_later(connection, command.thread_id, now + command.delay), 0)
    named = _named(connection, command, runs, assistants) if isinstance(command, RunCommand) else None
    takers = {run.run_id for run in (*runs, named) if isinstance(run, Run) and run.has_taken}
    return ThreadView(
        thread,
        runs,
        named,
        _repeated(connection, command) if isinstance(command, AdmitRun) and command.request_id else None,
        _committed(connection, command) if isinstance(command, CommitStep) and command.expected_step else None,
        whole,
        unlisted,
        unlisted_ahead,
        unlisted_merges,
        {run_id: queue.taken(connection, run_id, assistants) for run_id in takers}
        if isinstance(command, (AdmitRun, ClaimRun, CancelRun, CancelRuns, DeleteThread))
        else {},
        _absorber(connection, command, assistants) if isinstance(command, DeleteRun) else None,
        _own_bytes(connection, command) if isinstance(command, UpdateRun) else 0,
    )


def _named(
    connection: sqlite3.Connection, command: RunCommand, runs: tuple[Run, ...], assistants: Mapping[int, Assistant]
) -> Run | Tombstone | None:
    for run in runs:
        if run.run_id == command.run_id:
            return run
    key = (command.run_id, command.thread_id)
    row = connection.execute(RUN_BY_KEY, key).fetchone()
    if row is not None:
        return read_run(row, assistants)
    row = connection.execute(TOMBSTONE_BY_KEY, key).fetchone()
    return row and read_tombstone(row)


def _own_bytes(connection: sqlite3.Connection, command: RunCommand) -> int:
    size = "SELECT length(CAST(input AS BLOB)) FROM runs WHERE run_id = ?"
    row = connection.execute(size, (command.run_id,)).fetchone()
    return int(row[0]) if row else 0


def _absorber(connection: sqlite3.Connection, command: RunCommand, assistants: Mapping[int, Assistant]) -> Run | None:
    """The run that the named one has become part of, if it was merged."""
    key = (queue.taker(connection, command.run_id), command.thread_id)
    row = connection.execute(RUN_BY_KEY, key).fetchone()
    return row and read_run(row, assistants)


def _repeated(connection: sqlite3.Connection, command: AdmitRun) -> Repeated | None:
    row = connection.execute(
        "SELECT run_id, digest, joined FROM requests WHERE thread_id = ? AND request_id = ?",
        (command.thread_id, command.request_id),
    ).fetchone()
    return row and Repeated(row[0], row[1], bool(row[2]))


def _committed(connection: sqlite3.Connection, command: CommitStep) -> Committed | None:
    """The run's commit whose first step has the number expected; the inputs with which it began are none.

    An update that equals the command's is returned as the command spells it.
    """
    assert command.expected_step is not None
    key = (command.thread_id, command.expected_step, command.run_id)
    row = connection.execute(
        "SELECT body, absorb, input_of FROM steps JOIN runs USING (run_id) "
        "WHERE steps.thread_id = ? AND step = ? AND run_id = ? AND step > base_step + 1 + merges "
        "AND (input_of IS NULL OR absorb IS NOT NULL)",
        key,
    ).fetchone()
    if row is None:
        return None
    body, absorb, input_of = row
    taken, *asked = json.loads(absorb) if absorb else (0,)
    first = key[1] + (input_of is None)
    absorbed = connection.execute(
        "SELECT input_of FROM steps WHERE thread_id = ? AND step >= ? AND step < ? ORDER BY step",
        (command.thread_id, first, first + taken),
    )
    ids = tuple([run_id for (run_id,) in absorbed])
    return Committed(None if input_of else _as_spelled(body, command.update), tuple(asked), first + taken - 1, ids)


def _as_spelled(committed: Json, update: Json | None) -> Json:
    if update is not None and (committed == update or canonical(committed) == canonical(update)):
        return update
    return committed
