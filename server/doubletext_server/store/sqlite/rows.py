"""Rows and what they mean: column lists, and the way between a row and the domain."""

import json
from collections.abc import Mapping
from dataclasses import astuple, fields
from functools import lru_cache
from typing import Any, Final, TypeAlias

from doubletext_statemachine.model import (
    DEFAULT_REDUCERS,
    Assistant,
    Event,
    Output,
    Reducers,
    Run,
    RunChanged,
    StepCommitted,
    StoppingAttempt,
    Thread,
    Tombstone,
)
from doubletext_statemachine.words import Reason, Reducer, RunStatus, Strategy

Row: TypeAlias = tuple[Any, ...]

ASSISTANT: Final = (
    "key, assistant_id, graph, create_time, metadata, config, reducers, max_attempts, stop_grace, run_timeout"
)
THREAD: Final = (
    "thread_id, create_time, update_time, metadata, default_strategy, max_queued_runs, "
    "last_sequence, last_step, last_event, "
    "stopping_run_id, stopping_epoch, stopping_until, stopping_grace_until, stopping_worker_id, first_event"
)
RUN: Final = (
    "run_id, thread_id, sequence, assistant_key, strategy, create_time, due_time, timeout, status, attempt, epoch, "
    "start_time, end_time, base_step, last_step, error_type, error_message, superseded_by, reason, "
    "worker_id, lease_expires, outcome_digest, first_event"
)
TOMBSTONE: Final = "run_id, thread_id, superseded_by, reason, create_time, delete_time"

NOT_STOPPING: Final = (None,) * len(fields(StoppingAttempt))

_STATUS: Final = {status.value: status for status in RunStatus}
_STRATEGY: Final = {strategy.value: strategy for strategy in Strategy}
_REASON: Final[dict[str | None, Reason | None]] = {None: None, **{reason.value: reason for reason in Reason}}


def placeholders(columns: str) -> str:
    return ", ".join("?" * len(columns.split(",")))


def of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


def assistant_row(assistant: Assistant) -> Row:
    row = astuple(assistant)
    return (*row[1:6], write_reducers(assistant.reducers), *row[7:])


def read_assistant(row: Row) -> Assistant:
    key, assistant_id, graph, create_time, metadata, config, reducers, max_attempts, stop_grace, run_timeout = row
    return Assistant(
        key,
        assistant_id,
        graph,
        create_time,
        metadata,
        config,
        read_reducers(reducers),
        max_attempts,
        stop_grace,
        run_timeout,
    )


def write_reducers(reducers: Reducers) -> str:
    return json.dumps({key: reducer.value for key, reducer in reducers.items()})


def read_reducers(text: str) -> Reducers:
    return {key: Reducer(name) for key, name in json.loads(text).items()}


def step_reducers(reducers: Reducers) -> str | None:
    """A step's reducers; NULL stands for the default ones, which nearly every step has."""
    return None if reducers == DEFAULT_REDUCERS else write_reducers(reducers)


def read_step_reducers(text: str | None) -> Reducers:
    return DEFAULT_REDUCERS if text is None else read_reducers(text)


def thread_row(thread: Thread) -> Row:
    stopping = thread.stopping
    return (
        thread.thread_id,
        thread.create_time,
        thread.update_time,
        thread.metadata,
        thread.default_strategy and thread.default_strategy.value,
        thread.max_queued_runs,
        thread.last_sequence,
        thread.last_step,
        thread.last_event,
        *(astuple(stopping) if stopping else NOT_STOPPING),
        thread.first_event,
    )


def read_thread(row: Row) -> Thread:
    thread_id, created, updated, metadata, strategy, limit, sequence, step, event, *stopping, first_event = row
    return Thread(
        thread_id,
        created,
        updated,
        metadata,
        strategy and _STRATEGY[strategy],
        limit,
        sequence,
        step,
        event,
        None if stopping[2] is None else StoppingAttempt(*stopping),
        first_event,
    )


def run_row(run: Run) -> Row:
    assert run.status is not None
    return (
        run.run_id,
        run.thread_id,
        run.sequence,
        run.assistant.key,
        run.strategy.value,
        run.create_time,
        run.due_time,
        run.timeout,
        run.status.value,
        *changing_columns(run),
    )


def changing_columns(run: Run) -> Row:
    """The columns after `status`, in order."""
    return (
        run.attempt,
        run.epoch,
        run.start_time,
        run.end_time,
        run.base_step,
        run.last_step,
        run.error_type,
        run.error_message,
        run.superseded_by,
        run.reason and run.reason.value,
        run.worker_id,
        run.lease_expires,
        run.outcome_digest,
        run.first_event,
    )


def read_run(row: Row, assistants: Mapping[int, Assistant]) -> Run:
    """From the columns of RUN, which are the fields of Run in their order."""
    values = list(row)
    values[3] = assistants[row[3]]
    values[4] = _STRATEGY[row[4]]
    values[8] = _STATUS[row[8]]
    values[18] = _REASON[row[18]]
    return Run._make(values)


def read_tombstone(row: Row) -> Tombstone:
    return Tombstone(row[0], row[1], row[2], Reason(row[3]), row[4], row[5])


def event_row(thread_id: str, event: Event, now: int) -> Row:
    kind = event.kind
    if isinstance(kind, RunChanged):
        change = _change(kind) if kind.superseded_by else _common_change(kind)
        named, step, body = "run_changed", None, change
    elif isinstance(kind, StepCommitted):
        named, step, body = "step_committed", kind.step, None
    else:
        named, step, body = "output", None, json.dumps([kind.channel, kind.data])
    return (thread_id, event.sequence, event.run_id, now, named, step, body)


def _change(change: RunChanged) -> str:
    before, reason = change.before and change.before.value, change.reason and change.reason.value
    return json.dumps([before, change.after.value, change.superseded_by, reason])


_common_change: Final = lru_cache(_change)
"""Of a change that names no other run: there are few of those."""


def read_event(row: Row) -> tuple[Event, str | None]:
    """From (sequence, run_id, kind, step, body, the step's update): the event, and its data's text."""
    sequence, run_id, named, step, body, update = row
    if named == "run_changed":
        before, after, superseded_by, reason = json.loads(body)
        change = RunChanged(before and _STATUS[before], _STATUS[after], superseded_by, _REASON[reason])
        return Event(sequence, run_id, change), None
    if named == "step_committed":
        return Event(sequence, run_id, StepCommitted(step)), update
    channel, data = json.loads(body)
    return Event(sequence, run_id, Output(channel, data or "")), data
