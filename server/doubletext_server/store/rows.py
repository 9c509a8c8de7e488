"""What a Decision writes, as rows of plain values, and the way between a row and the domain. The same for every store.

The columns of each table are named here, once, in the order of the values of its rows.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from functools import lru_cache
from typing import Any, Final, TypeAlias

from doubletext import jsontext
from doubletext_statemachine.commands import AdmitRun, Command, UpdateRun, UpdateThread
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import (
    DEFAULT_REDUCERS,
    Assistant,
    Event,
    Output,
    Reducers,
    Run,
    RunChanged,
    RunEdited,
    Step,
    StepCommitted,
    StoppingAttempt,
    Thread,
    ThreadChanged,
    Tombstone,
)
from doubletext_statemachine.state import Change
from doubletext_statemachine.words import TERMINAL, OnFailure, QueuePolicy, Reason, Reducer, RunStatus, Strategy

Row: TypeAlias = tuple[Any, ...]
Columns: TypeAlias = tuple[str, ...]


def _columns(names: str) -> Columns:
    return tuple(names.split())


ASSISTANT: Final = _columns(
    "key assistant_id graph create_time metadata config reducers max_attempts stop_grace run_timeout"
)
THREAD: Final = _columns(
    "thread_id create_time update_time metadata default_strategy max_queued_runs last_sequence last_step last_event "
    "stopping_run_id stopping_epoch stopping_until stopping_grace_until stopping_worker_id first_event "
    "default_queue_policy held on_failure"
)
THREAD_KEPT: Final = THREAD.index("update_time")
"""How many of THREAD's columns, from the first on, never change."""
RUN: Final = _columns(
    "run_id thread_id sequence assistant_key strategy create_time due_time timeout status attempt epoch start_time "
    "end_time base_step last_step error_type error_message superseded_by reason worker_id lease_expires "
    "outcome_digest first_event queue_policy rank merged_into merges input_bytes oldest_time debounced expire_time "
    "absorbed revision"
)
RUN_KEPT: Final = RUN.index("status")
"""How many of RUN's columns, from the first on, never change."""
GIVEN: Final = _columns("input metadata")
"""The columns of a run beside RUN: what it was given, which no decision depends on."""
TOMBSTONE: Final = _columns("run_id thread_id superseded_by reason create_time delete_time merged_into")
REQUEST: Final = _columns("thread_id request_id run_id digest create_time joined")
STEP: Final = _columns("thread_id step run_id create_time reducers rules input_of absorb body")
EVENT: Final = _columns("thread_id sequence run_id time kind step body")

_ASSISTANT_AT, _STRATEGY_AT, _STATUS_AT, _REASON_AT, _POLICY_AT, _DEBOUNCED_AT = map(
    RUN.index, ("assistant_key", "strategy", "status", "reason", "queue_policy", "debounced")
)
_NOT_STOPPING: Final = (None,) * len(fields(StoppingAttempt))
_FINISHED: Final = TERMINAL - {RunStatus.DELETED, RunStatus.MERGED}
_STATUS: Final = {status.value: status for status in RunStatus}
_STRATEGY: Final = {strategy.value: strategy for strategy in Strategy}
_POLICY: Final[dict[str | None, QueuePolicy | None]] = {None: None, **{policy.value: policy for policy in QueuePolicy}}
_ON_FAILURE: Final[dict[str | None, OnFailure | None]] = {None: None, **{word.value: word for word in OnFailure}}
_REASON: Final[dict[str | None, Reason | None]] = {None: None, **{reason.value: reason for reason in Reason}}


@dataclass(slots=True)
class Cut:
    """Steps after `after` go. Runs that ended since `since` without having run, and noted a later step as the state
    they left, have it corrected: this is what remains of that state."""

    after: int
    since: int


@dataclass(slots=True)
class Rows:
    """What a Decision writes about one thread. Write it in the order of the fields.

    deletes_thread  the thread goes with all that belongs to it; nothing else is written then
    creates_thread  `thread` is a new row, not a changed one
    thread      a row of THREAD
    relabelled  whether the thread's metadata are new
    moved       rows of RUN, of runs that are there
    edited      of a run that waits: its id, due_time, timeout, input and metadata; None for an object that stays
    tombstones  rows of TOMBSTONE; the run of each goes, and so do the contents of its outputs, whose events stay
    cut         None when no step goes
    admitted    a row of RUN and GIVEN
    request     a row of REQUEST
    steps       rows of STEP; where the body is None, it is the run's input
    events      rows of EVENT
    removes_run the id of a finished run that goes
    finishes    whether the thread's newest finished run is another one now
    """

    thread_id: str
    deletes_thread: bool = False
    creates_thread: bool = False
    thread: Row = ()
    relabelled: bool = False
    moved: list[Row] = field(default_factory=list)
    edited: Row | None = None
    tombstones: list[Row] = field(default_factory=list)
    cut: Cut | None = None
    admitted: Row | None = None
    request: Row | None = None
    steps: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    removes_run: str | None = None
    finishes: bool = False


def rows(command: Command, decision: Decision, now: int) -> Rows:
    """What the decision on the command writes, made at `now`, in microseconds since 1970."""
    thread_id = command.thread_id
    if decision.deletes_thread:
        return Rows(thread_id, deletes_thread=True)
    assert decision.thread is not None
    written = Rows(
        thread_id,
        creates_thread=decision.creates_thread,
        thread=thread_row(decision.thread),
        relabelled=decision.creates_thread or (isinstance(command, UpdateThread) and "metadata" in command.changes),
        steps=[_step_row(thread_id, step, now) for step in decision.steps],
        events=[_event_row(thread_id, event, now) for event in decision.events],
        removes_run=decision.removes_run,
        finishes=decision.removes_run is not None,
    )
    for run in decision.moved:
        if run.status is RunStatus.DELETED:
            written.tombstones.append(_tombstone_row(run, now))
        else:
            written.moved.append(run_row(run))
            written.finishes |= run.status in _FINISHED
    if decision.edited:
        assert isinstance(decision.run, Run)
        given = (command.input, command.metadata) if isinstance(command, UpdateRun) else (None, None)
        written.edited = (decision.run.run_id, decision.run.due_time, decision.run.timeout, *given)
    if decision.cut_to is not None:
        written.cut = Cut(decision.cut_to, min(run.create_time for run in decision.moved))
    if decision.admitted is not None:
        assert isinstance(command, AdmitRun)
        written.admitted = (*run_row(decision.admitted), command.input, command.metadata)
    if isinstance(command, AdmitRun) and command.request_id is not None and decision.run is not None:
        run_id = decision.run.run_id
        written.request = (thread_id, command.request_id, run_id, command.digest, now, int(decision.joins))
    return written


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


def _step_row(thread_id: str, step: Step, now: int) -> Row:
    # NULL stands for the default reducers, which nearly every step has.
    reducers = None if step.reducers == DEFAULT_REDUCERS else write_reducers(step.reducers)
    absorb = json.dumps([step.absorbed, *step.absorb]) if step.absorb else None
    return (thread_id, step.step, step.run_id, now, reducers, step.rules, step.input_of, absorb, step.update)


def read_step_reducers(text: str | None) -> Reducers:
    return DEFAULT_REDUCERS if text is None else read_reducers(text)


def read_change(update: str, reducers: str | None, rules: int) -> Change:
    return Change(jsontext.read(update), read_step_reducers(reducers), rules)


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
        *(astuple(stopping) if stopping else _NOT_STOPPING),
        thread.first_event,
        thread.default_queue_policy and thread.default_queue_policy.value,
        int(thread.held),
        thread.on_failure and thread.on_failure.value,
    )


def read_thread(row: Row) -> Thread:
    thread_id, created, updated, metadata, strategy, limit, sequence, step, event, *stopping, first_event = row[:-3]
    policy, held, on_failure = row[-3:]
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
        _POLICY[policy],
        bool(held),
        _ON_FAILURE[on_failure],
    )


def run_row(run: Run) -> Row:
    """The columns of RUN, which are the fields of Run in their order."""
    row: list[Any] = list(run)
    row[_ASSISTANT_AT] = run.assistant.key
    row[_STRATEGY_AT] = run.strategy.value
    assert run.status is not None
    row[_STATUS_AT] = run.status.value
    row[_REASON_AT] = run.reason and run.reason.value
    row[_POLICY_AT] = run.queue_policy and run.queue_policy.value
    row[_DEBOUNCED_AT] = int(run.debounced)
    return tuple(row)


def read_run(row: Row, assistants: Mapping[int, Assistant]) -> Run:
    """From the columns of RUN, which are the fields of Run in their order."""
    values = list(row)
    values[_ASSISTANT_AT] = assistants[row[_ASSISTANT_AT]]
    values[_STRATEGY_AT] = _STRATEGY[row[_STRATEGY_AT]]
    values[_STATUS_AT] = _STATUS[row[_STATUS_AT]]
    values[_REASON_AT] = _REASON[row[_REASON_AT]]
    values[_POLICY_AT] = _POLICY[row[_POLICY_AT]]
    values[_DEBOUNCED_AT] = bool(row[_DEBOUNCED_AT])
    return Run._make(values)


def _tombstone_row(run: Run, now: int) -> Row:
    assert run.reason is not None
    return (run.run_id, run.thread_id, run.superseded_by, run.reason.value, run.create_time, now, run.merged_into)


def read_tombstone(row: Row) -> Tombstone:
    return Tombstone(row[0], row[1], row[2], Reason(row[3]), row[4], row[5], row[6])


def _event_row(thread_id: str, event: Event, now: int) -> Row:
    kind = event.kind
    if isinstance(kind, RunChanged):
        change = _change(kind) if kind.superseded_by or kind.merged_into else _common_change(kind)
        named, step, body = "run_changed", None, change
    elif isinstance(kind, StepCommitted):
        named, step, body = "step_committed", kind.step, None
    elif isinstance(kind, RunEdited):
        named, step, body = "run_edited", None, json.dumps([kind.revision, kind.queue_position])
    elif isinstance(kind, ThreadChanged):
        named, step, body = "thread_changed", None, json.dumps([kind.held])
    else:
        parts = (kind.first_part, kind.last_part) if kind.first_part else ()
        named, step, body = "output", None, json.dumps([kind.channel, kind.data, *parts])
    return (thread_id, event.sequence, event.run_id, now, named, step, body)


def _change(change: RunChanged) -> str:
    before, reason = change.before and change.before.value, change.reason and change.reason.value
    into = [change.merged_into] if change.merged_into else []
    return json.dumps([before, change.after.value, change.superseded_by, reason, *into])


_common_change: Final = lru_cache(_change)
"""Of a change that names no other run: there are few of those."""


def read_event(row: Row) -> tuple[Event, str | None]:
    """From (sequence, run_id, kind, step, body, the step's update): the event, and its data's text."""
    sequence, run_id, named, step, body, update = row
    if named == "run_changed":
        before, after, superseded_by, reason, *into = json.loads(body)
        change = RunChanged(before and _STATUS[before], _STATUS[after], superseded_by, _REASON[reason], *into)
        return Event(sequence, run_id, change), None
    if named == "step_committed":
        return Event(sequence, run_id, StepCommitted(step)), update
    if named == "run_edited":
        return Event(sequence, run_id, RunEdited(*json.loads(body))), None
    if named == "thread_changed":
        return Event(sequence, run_id, ThreadChanged(*json.loads(body))), None
    channel, data, *parts = json.loads(body)
    return Event(sequence, run_id, Output(channel, data or "", 0, *parts)), data
