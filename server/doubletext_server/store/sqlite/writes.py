"""Writing what was decided: the rows of store.rows, in SQL."""

import sqlite3
from collections.abc import Mapping
from typing import Final

from doubletext_server.store.rows import (
    EVENT,
    GIVEN,
    REQUEST,
    RUN,
    RUN_KEPT,
    STEP,
    THREAD,
    THREAD_KEPT,
    TOMBSTONE,
    Cut,
    Row,
    Rows,
)
from doubletext_server.store.sqlite import labels, tidy
from doubletext_server.store.sqlite.sql import insert, listed, placeholders, update
from doubletext_statemachine.words import RunStatus, thread_status

OUTCOME: Final = (
    "SELECT outcome, (SELECT status FROM runs WHERE runs.thread_id = threads.thread_id AND end_time IS NOT NULL "
    "AND status <> 'merged' ORDER BY end_time DESC, sequence DESC LIMIT 1) FROM threads WHERE thread_id = ?"
)
ADD_THREAD: Final = insert("threads", (*THREAD, "oldest_time", "active_time"))
SET_THREAD: Final = update("threads", THREAD[THREAD_KEPT:], "thread_id")
ADD_RUN: Final = insert("runs", RUN + GIVEN)
SET_RUN: Final = update("runs", RUN[RUN_KEPT:], "run_id")
ADD_TOMBSTONE: Final = insert("tombstones", TOMBSTONE)
ADD_REQUEST: Final = insert("requests", REQUEST)
ADD_STEP: Final = insert("steps", STEP)
ADD_INPUT_STEP: Final = (
    f"INSERT INTO steps ({listed(STEP)}) SELECT {placeholders(STEP[:-1])}, input FROM runs WHERE run_id = ?"
)
ADD_EVENT: Final = insert("events", EVENT)
EDIT_RUN: Final = (
    "UPDATE runs SET due_time = ?, timeout = ?, input = coalesce(?, input), metadata = coalesce(?, metadata) "
    "WHERE run_id = ?"
)
PASS_ON: Final = (
    "UPDATE runs SET merged_into = taken.merged_into FROM runs AS taken "
    "WHERE runs.merged_into = ?1 AND taken.run_id = ?1 AND taken.merged_into IS NOT NULL"
)
"""What a run had taken that was taken itself goes on as part of that one's taker, when the run's record is deleted."""


def write(connection: sqlite3.Connection, rows: Rows, left: set[str]) -> None:
    """Write what was decided, inside the caller's transaction.

    left  the deleted threads of which something may be left
    """
    if rows.deletes_thread:
        labels.remove_thread(connection, rows.thread_id)
        tidy.delete_thread(connection, rows.thread_id, left)
        return
    _write_thread(connection, rows, left)
    for run in rows.moved:
        connection.execute(SET_RUN, (*run[RUN_KEPT:], run[0]))
    if rows.edited is not None:
        _edit(connection, rows.edited)
    for tombstone in rows.tombstones:
        _bury(connection, tombstone)
    if rows.cut is not None:  # mutant: one-commit
        _cut(connection, rows.thread_id, rows.cut)
    if rows.admitted is not None:
        connection.execute(ADD_RUN, rows.admitted)
        labels.add_run(connection, rows.admitted)
    if rows.request is not None:
        connection.execute(ADD_REQUEST, rows.request)
    for step in rows.steps:
        try:
            _add_step(connection, step)
        except sqlite3.IntegrityError:
            if not tidy.replace_step(connection, rows.thread_id, step[STEP.index("step")]):
                raise
            _add_step(connection, step)
    connection.executemany(ADD_EVENT, rows.events)
    if rows.removes_run is not None:
        connection.execute(PASS_ON, (rows.removes_run,))
        _delete_run(connection, rows.removes_run)
    if rows.finishes:
        _write_outcome(connection, rows.thread_id)


def _add_step(connection: sqlite3.Connection, step: Row) -> None:
    if step[-1] is None:
        connection.execute(ADD_INPUT_STEP, (*step[:-1], step[STEP.index("input_of")]))
    else:
        connection.execute(ADD_STEP, step)


def _write_thread(connection: sqlite3.Connection, rows: Rows, left: set[str]) -> None:
    if rows.relabelled:
        if not rows.creates_thread:
            labels.remove_thread(connection, rows.thread_id)
        labels.add_thread(connection, rows.thread)
    if rows.creates_thread:
        tidy.make_room(connection, rows.thread_id, left)
        created = rows.thread[THREAD.index("create_time")]
        connection.execute(ADD_THREAD, (*rows.thread, created, created))
        return
    connection.execute(SET_THREAD, (*rows.thread[THREAD_KEPT:], rows.thread_id))


def _write_outcome(connection: sqlite3.Connection, thread_id: str) -> None:
    """Note what the thread's newest finished run leaves it as, for lists by status. Mostly it is what it was."""
    before, newest = connection.execute(OUTCOME, (thread_id,)).fetchone()
    outcome = thread_status(0, newest and RunStatus(newest)).value
    if outcome != before:
        connection.execute("UPDATE threads SET outcome = ? WHERE thread_id = ?", (outcome, thread_id))


def _edit(connection: sqlite3.Connection, edited: Row) -> None:
    run_id, *changes, metadata = edited
    if metadata is not None:
        thread_id, sequence, before = connection.execute(
            "SELECT thread_id, sequence, metadata FROM runs WHERE run_id = ?", (run_id,)
        ).fetchone()
        labels.remove_run(connection, thread_id, sequence, before)
        labels.add_run(connection, (run_id, thread_id, sequence, metadata))
    connection.execute(EDIT_RUN, (*changes, metadata, run_id))


def _delete_run(connection: sqlite3.Connection, run_id: str) -> None:
    thread_id, sequence, metadata = connection.execute(
        "DELETE FROM runs WHERE run_id = ? RETURNING thread_id, sequence, metadata", (run_id,)
    ).fetchone()
    labels.remove_run(connection, thread_id, sequence, metadata)


def _bury(connection: sqlite3.Connection, tombstone: Row) -> None:
    """Delete a rolled-back run with its outputs. Its events stay, since they have numbers; a step's event has no
    content of its own."""
    run_id = tombstone[0]
    _delete_run(connection, run_id)
    connection.execute(  # mutant: outputs-gone
        "UPDATE events SET body = json_array(json_extract(body, '$[0]'), NULL) WHERE run_id = ? AND kind = 'output'",
        (run_id,),
    )
    connection.execute(ADD_TOMBSTONE, tombstone)


def _cut(connection: sqlite3.Connection, thread_id: str, cut: Cut) -> None:
    tidy.cut_steps(connection, thread_id, cut.after)
    connection.execute(
        "UPDATE runs SET base_step = ? WHERE thread_id = ? AND end_time >= ? AND base_step > ? AND last_step = 0",
        (cut.after, thread_id, cut.since, cut.after),
    )


def suspect(runs: Mapping[str, int], connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM suspects")
    connection.executemany("INSERT INTO suspects (run_id, times_alone) VALUES (?, ?)", runs.items())


def pare_assistants(connection: sqlite3.Connection) -> list[int]:
    """Empty the deleted assistants that no run in flight has, since finished runs need their ids alone.

    Returns their keys.
    """
    pared = connection.execute(
        "UPDATE assistants SET metadata = '{}', config = '{}', reducers = '{}' "
        "WHERE delete_time IS NOT NULL AND metadata || config || reducers <> '{}{}{}' AND key NOT IN ("
        "SELECT assistant_key FROM runs INDEXED BY runs_in_flight WHERE end_time IS NULL) RETURNING key"
    )
    return [key for (key,) in pared]
