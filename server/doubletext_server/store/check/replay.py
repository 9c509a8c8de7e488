"""Replay a thread's events: the history of each run, the order in which runs start, the steps that are left.

Where events were trimmed, a run may appear in the middle of its history. What came before is then assumed to be right.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from doubletext_server.store.check.report import Kind, Report
from doubletext_statemachine.lifecycle import TABLE
from doubletext_statemachine.model import RANKS
from doubletext_statemachine.words import Reason, RunStatus

S: Final = RunStatus
MOVES: Final = frozenset((row.source, row.dest) for row in TABLE)


@dataclass(slots=True)
class RunHistory:
    """What the events say of a run.

    number    its place among the admissions in the events, from 1; None when its admission is not among them
    due       when it may start, from its row; None when it has no row, or was edited
    rank      its place among those that wait, from its row; None when it has no row, or was edited
    placed    its rank is not that of its admission
    claims    how many claims there were
    releases  how many times it was handed back, which uses up no attempt
    output    the sequence of its newest output that has content; 0 for none
    """

    status: RunStatus | None
    number: int | None = None
    admitted_by: int = 0
    admitted_at: int = 0
    due: int | None = None
    rank: int | None = None
    placed: bool = False
    claims: int = 0
    releases: int = 0
    started_at: int | None = None
    changed_at: int = 0
    superseded_by: str | None = None
    reason: str | None = None
    output: int = 0


class Row(NamedTuple):
    """An event.

    body  of a change: its JSON text; of an output: whether it has content
    due   the run's due_time
    rank  the run's rank
    placed  whether that is another one than that of its admission
    """

    sequence: int
    run_id: str | None
    time: int
    kind: str
    step: int | None
    body: Any
    due: int | None
    rank: int | None
    placed: int | None


EVENTS: Final = (
    "SELECT e.sequence, e.run_id, e.time, e.kind, e.step, CASE WHEN e.kind = 'run_changed' THEN e.body "
    "WHEN e.kind = 'output' AND json_valid(e.body) THEN json_extract(e.body, '$[1]') IS NOT NULL END, "
    f"iif(r.revision, NULL, r.due_time), iif(r.revision, NULL, r.rank), r.rank <> r.sequence * {RANKS} "
    "FROM events e LEFT JOIN runs r ON e.kind = 'run_changed' AND r.run_id = e.run_id "
    "WHERE e.thread_id = ? ORDER BY e.sequence"
)


@dataclass(slots=True)
class Stretch:
    """Steps that follow each other, and that one run made, or that UpdateState made (`run_id` None)."""

    run_id: str | None
    first: int
    last: int


@dataclass
class Replay:
    """The state of a replay. `take` gets the thread's events one by one.

    complete   whether the events are kept from the first one on
    runs       the history of every run in the events
    stretches  the steps that are left according to the events
    top        the number of the newest step that is left; None when it is unknown
    """

    thread_id: str
    first_event: int
    report: Report
    runs: dict[str, RunHistory] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    admissions: int = 0

    def __post_init__(self) -> None:
        self.complete = self.first_event == 1
        self.top: int | None = 0 if self.complete else None
        self.last = self.first_event - 1
        self._waiting: dict[str, RunHistory] = {}
        self._placed: dict[str, RunHistory] = {}  # of those that wait, the few that are out of the order of admission
        self._handed_back: str | None = None
        self._running: str | None = None
        self._take: dict[str, Callable[[Row], None]] = {
            "run_changed": self._run_changed,
            "step_committed": self._step_committed,
            "output": self._output,
            "run_edited": self._run_edited,
            "thread_changed": lambda event: None,
        }

    def take(self, event: Row) -> None:
        if event.sequence != self.last + 1:
            missing = f"event {self.last + 1} is" if event.sequence == self.last + 2 else f"{self._gap(event)} are"
            said = (
                f"{missing} missing"
                if event.sequence > self.last
                else f"event {event.sequence} was trimmed, but is there"
            )
            self._add(Kind.EVENT, None, said)
        self.last = max(self.last, event.sequence)
        take = self._take.get(event.kind)
        if take is None:
            self._add(Kind.EVENT, event.run_id, f"event {event.sequence} is of the unknown kind {event.kind!r}")
        else:
            take(event)

    def _gap(self, event: Row) -> str:
        return f"events {self.last + 1} to {event.sequence - 1}"

    def _add(self, kind: Kind, run_id: str | None, what: str) -> None:
        run = "" if run_id is None else f", run {run_id}"
        self.report.add(kind, f"thread {self.thread_id}{run}: {what}")

    # The history of a run

    def _run_changed(self, event: Row) -> None:
        change = _read_change(event.body)
        if change is None or event.run_id is None:
            self._add(Kind.EVENT, event.run_id, f"event {event.sequence} tells of a change that cannot be read")
            return
        before, after, superseded_by, reason = change
        history = self._history_of(event.run_id, before, event)
        if history.status is not before:
            said = f"event {event.sequence} moves it from {called(before)}, but it was {called(history.status)}"
            self._add(Kind.HISTORY, event.run_id, said)
        elif (before, after) not in MOVES:
            said = f"event {event.sequence} moves it from {called(before)} to {called(after)}"
            self._add(Kind.HISTORY, event.run_id, said)
        self._leave(event.run_id)
        history.status, history.changed_at = after, event.time
        history.superseded_by, history.reason = superseded_by, reason
        if before is None:
            self._admitted(history, event)
        if after is S.PENDING:
            self._waits(event.run_id, history, before)
        elif after is S.RUNNING:
            self._starts(event.run_id, history, event)
        elif superseded_by is not None:
            self._superseded(event.run_id, history, superseded_by)
        if after is S.DELETED:
            self._cut(event.run_id)

    def _history_of(self, run_id: str, status: RunStatus | None, event: Row) -> RunHistory:
        """Return the history of the run so far. For a run that appears in the middle, it begins with `status`."""
        history = self.runs.get(run_id)
        if history is None:
            history = self.runs[run_id] = RunHistory(status)
            if status is S.RUNNING and self._running is None:
                self._running = run_id
            if self.complete and status is not None:
                self._add(Kind.HISTORY, run_id, f"event {event.sequence} is the first to tell of it, and no admission")
        return history

    def _leave(self, run_id: str) -> None:
        if self._running == run_id:
            self._running = None
        if self._handed_back == run_id:
            self._handed_back = None
        self._waiting.pop(run_id, None)
        self._placed.pop(run_id, None)

    def _admitted(self, history: RunHistory, event: Row) -> None:
        self.admissions += 1
        history.number, history.due = self.admissions, event.due
        history.rank, history.placed = event.rank, bool(event.placed)
        history.admitted_by, history.admitted_at = event.sequence, event.time

    def _waits(self, run_id: str, history: RunHistory, before: RunStatus | None) -> None:
        if before is None:
            (self._placed if history.placed else self._waiting)[run_id] = history
            return
        self._handed_back = run_id
        history.releases += history.reason == Reason.RELEASED.value

    def _starts(self, run_id: str, history: RunHistory, event: Row) -> None:
        """Runs start one at a time: first a run that was handed back, else the first admitted run that is due."""
        if self._running is not None:
            self._add(Kind.RUNNING, run_id, f"event {event.sequence} starts it while run {self._running} is running")
        if self._handed_back is not None:
            said = f"event {event.sequence} starts it before run {self._handed_back}, which was handed back"
            self._add(Kind.ORDER, run_id, said)
        elif history.number is not None and not history.claims:
            self._in_turn(run_id, history, event)
        history.claims += 1
        history.started_at = event.time
        self._running = run_id

    def _in_turn(self, run_id: str, history: RunHistory, event: Row) -> None:
        if history.due is not None and history.due > event.time:
            self._add(Kind.ORDER, run_id, f"event {event.sequence} starts it before it is due")
        if history.rank is None:
            return
        for waiting in (self._waiting, self._placed):
            for other_id, other in waiting.items():
                if other.rank is None:
                    continue
                if waiting is self._waiting and other.rank > history.rank:
                    break
                if other.rank < history.rank and other.due is not None and other.due <= event.time:
                    said = f"event {event.sequence} starts it before run {other_id}, which was due and before it"
                    self._add(Kind.ORDER, run_id, said)
                    return

    def _superseded(self, run_id: str, history: RunHistory, successor_id: str) -> None:
        successor = self.runs.get(successor_id)
        if successor is None:
            if self.complete:
                said = f"is superseded by {successor_id}, which was not admitted before that"
                self._add(Kind.SUPERSEDED, run_id, said)
        elif (successor.number or 0) <= (history.number or 0):
            self._add(Kind.SUPERSEDED, run_id, f"is superseded by {successor_id}, which was not admitted after it")

    def _run_edited(self, event: Row) -> None:
        if event.run_id is None:
            self._add(Kind.EVENT, None, f"event {event.sequence} tells of an edit of no run")
            return
        history = self._history_of(event.run_id, None if self.complete else S.PENDING, event)
        if history.status is not S.PENDING or history.claims:
            said = f"event {event.sequence} tells of an edit while it is {called(history.status)}"
            self._add(Kind.HISTORY, event.run_id, said)

    # The steps and outputs of a run

    def _step_committed(self, event: Row) -> None:
        if event.run_id is not None:
            self._must_run(event.run_id, event)
        step = event.step
        if step is None or (self.top is not None and step != self.top + 1):
            self._add(Kind.EVENT, event.run_id, f"event {event.sequence} tells of step {step} after step {self.top}")
        self.top = step
        if step is None:
            return
        newest = self.stretches[-1] if self.stretches else None
        if newest is not None and newest.run_id == event.run_id and newest.last + 1 == step:
            newest.last = step
        else:
            self.stretches.append(Stretch(event.run_id, step, step))

    def _output(self, event: Row) -> None:
        if event.body is None or event.run_id is None:
            self._add(Kind.EVENT, event.run_id, f"event {event.sequence} has an output that cannot be read")
        if event.run_id is None:
            return
        history = self._must_run(event.run_id, event)
        if event.body:
            history.output = event.sequence

    def _must_run(self, run_id: str, event: Row) -> RunHistory:
        history = self._history_of(run_id, None if self.complete else S.RUNNING, event)
        if history.status is not S.RUNNING:
            what = "an output" if event.kind == "output" else f"step {event.step}"
            said = f"event {event.sequence} tells of {what} while it is {called(history.status)}"
            self._add(Kind.HISTORY, run_id, said)
        return history

    def _cut(self, run_id: str) -> None:
        """A rollback deletes the run's steps, which are the newest ones. Their number is unknown when events about the
        first of them may have been trimmed."""
        newest = self.stretches[-1] if self.stretches else None
        if newest is not None and newest.run_id == run_id:
            self.stretches.pop()
            self.top = newest.first - 1 if self.complete or self.stretches else None
        elif not self.complete and not self.stretches:
            self.top = None


def _read_change(body: Any) -> tuple[RunStatus | None, RunStatus, str | None, str | None] | None:
    try:
        before, after, superseded_by, reason, *_ = json.loads(body)
        return before and S(before), S(after), superseded_by, reason
    except (ValueError, TypeError):
        return None


def called(status: RunStatus | None) -> str:
    return status.value if status else "nothing"
