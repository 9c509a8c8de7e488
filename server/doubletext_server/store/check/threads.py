"""Compare the events of each thread with its rows."""

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from doubletext_server.store.check.replay import EVENTS, Replay, Row, RunHistory, Stretch, called
from doubletext_server.store.check.report import Kind, Report
from doubletext_statemachine.words import IN_FLIGHT, TERMINAL, RunStatus

STEPS: Final = (
    "SELECT s.run_id, step, r.thread_id, base_step, r.last_step, g.run_id FROM steps s "
    "LEFT JOIN runs r ON r.run_id = s.run_id LEFT JOIN tombstones g ON g.run_id = s.run_id "
    "WHERE s.thread_id = ? ORDER BY step"
)


class ThreadCheck:
    """The check of one thread. `run` reads each row once. The memory it needs grows with the number of runs."""

    def __init__(self, connection: sqlite3.Connection, report: Report, thread_id: str, first_event: int) -> None:
        self._connection = connection
        self._report = report
        self._thread_id = thread_id
        self._replay = Replay(thread_id, first_event, report)
        self._rowless: dict[str, RunHistory] = {}

    def run(self, last_sequence: int, last_step: int, last_event: int) -> None:
        for event in self._rows(EVENTS):
            self._replay.take(Row(*event))
        self._events_end(last_event)
        self._runs(last_sequence)
        self._tombstones()
        self._requests()
        self._steps(last_step)
        self._successors()

    def _rows(self, query: str) -> sqlite3.Cursor:
        return self._connection.execute(query, (self._thread_id,))

    def _add(self, kind: Kind, what: str, run_id: str | None = None) -> None:
        run = "" if run_id is None else f", run {run_id}"
        self._report.add(kind, f"thread {self._thread_id}{run}: {what}")

    def _events_end(self, last_event: int) -> None:
        if self._replay.last < last_event:
            self._add(
                Kind.EVENT, f"the last event given out is {last_event}, the last one there is {self._replay.last}"
            )
        if self._replay.last > last_event:
            self._add(Kind.COUNTER, f"last_event is {last_event}, but event {self._replay.last} is there")

    # Runs

    def _runs(self, last_sequence: int) -> None:
        """Compare the runs with their histories. Afterwards `_rowless` has the histories of runs without a record."""
        admissions = self._replay.admissions
        trimmed = last_sequence - admissions
        if trimmed < 0 or (trimmed and self._replay.complete):
            self._add(Kind.COUNTER, f"last_sequence is {last_sequence}, but {admissions} admissions are told of")
        for run_id, *columns in self._rows(
            "SELECT run_id, status, first_event, sequence, "
            "superseded_by, reason, create_time, start_time, end_time, epoch, attempt FROM runs WHERE thread_id = ?"
        ):
            history = self._replay.runs.pop(run_id, None)
            for kind, what in self._compared(history, trimmed, *columns):
                self._add(kind, what, run_id)
        self._rowless = self._replay.runs
        for run_id, history in self._rowless.items():
            if history.status in IN_FLIGHT:
                self._add(Kind.HISTORY, f"is {called(history.status)} by its events, but has no record", run_id)
            if history.status is RunStatus.DELETED and history.output:
                said = f"was rolled back, but its output in event {history.output} is there still"
                self._add(Kind.ROLLED_BACK, said, run_id)

    def _compared(
        self, history: RunHistory | None, trimmed: int, status: str, first_event: int, sequence: int, *record: Any
    ) -> Iterator[tuple[Kind, str]]:
        """Yield where a run's record and its history disagree."""
        is_kept = self._replay.complete or first_event >= self._replay.first_event
        if history is None:
            if is_kept:
                yield Kind.HISTORY, f"is {status}, but no event tells of it"
            return
        if called(history.status) != status:
            yield Kind.HISTORY, f"is {status}, but by its events it is {called(history.status)}"
            return
        for what in _disagreements(history, *record):
            yield Kind.HISTORY, what
        if first_event not in (0, history.admitted_by) and is_kept:
            yield Kind.HISTORY, f"first_event is {first_event}, which does not tell of its admission"
        if history.number is not None and trimmed >= 0 and sequence != trimmed + history.number:
            yield Kind.COUNTER, f"has sequence {sequence}, but was admitted as number {trimmed + history.number}"

    def _tombstones(self) -> None:
        for run_id, *columns in self._rows(
            "SELECT run_id, superseded_by, reason, create_time, delete_time FROM tombstones WHERE thread_id = ?"
        ):
            history = self._rowless.get(run_id)
            if history is None:
                if self._replay.complete:
                    self._add(Kind.HISTORY, "has a tombstone, but no event tells of it", run_id)
            elif history.status is not RunStatus.DELETED:
                self._add(Kind.HISTORY, f"has a tombstone, but by its events it is {called(history.status)}", run_id)
            else:
                superseded_by, reason, create_time, delete_time = columns
                for what in _disagreements(history, superseded_by, reason, create_time, None, delete_time, None, None):
                    self._add(Kind.ROLLED_BACK, f"its tombstone: {what}", run_id)

    def _requests(self) -> None:
        """A request id may name a run without record and tombstone only if the events know the run."""
        for request_id, run_id in self._rows(
            "SELECT request_id, q.run_id FROM requests q LEFT JOIN runs r ON r.run_id = q.run_id "
            "LEFT JOIN tombstones g ON g.run_id = q.run_id "
            "WHERE q.thread_id = ? AND r.run_id IS NULL AND g.run_id IS NULL"
        ):
            if self._replay.complete and run_id not in self._rowless:
                self._add(Kind.REQUEST, f"request id {request_id!r} leads to run {run_id}, which never was")

    # Steps

    def _steps(self, last_step: int) -> None:
        newest, agree, made = 0, True, set[str]()
        replayed_stretches = iter(self._replay.stretches)
        since = self._replay.stretches[0].first if self._replay.stretches else last_step + 1
        since = 1 if self._replay.complete else since
        for run_id, rows in groupby(self._rows(STEPS), key=itemgetter(0)):
            first = 0
            for last in rows:
                step = last[1]
                if step != newest + 1:
                    self._add(Kind.STEP, f"step {newest + 1} is missing, the next one there is {step}")
                first, newest = first or step, step
            stretch = Stretch(run_id, first, newest)
            if run_id is not None:
                self._stretch(run_id, stretch, *last[2:], again=run_id in made)
                made.add(run_id)
            if agree and newest >= since:
                replayed = next(replayed_stretches, None)
                agree = replayed == Stretch(run_id, max(first, since), newest)
                if not agree:
                    self._add(Kind.STEP, f"{_named(stretch)} are there, but the events tell of {_named(replayed)}")
        if agree and (replayed := next(replayed_stretches, None)) is not None:
            self._add(Kind.STEP, f"the events tell of {_named(replayed)}, but they are not there")
        if newest != last_step:
            self._add(Kind.COUNTER, f"last_step is {last_step}, but the newest step there is {newest}")

    def _stretch(
        self,
        run_id: str,
        stretch: Stretch,
        thread_id: str | None,
        base_step: int | None,
        last_step: int | None,
        tombstone: str | None,
        *,
        again: bool,
    ) -> None:
        steps, history = f"steps {stretch.first} to {stretch.last}", self._rowless.get(run_id)
        if tombstone is not None or (history is not None and history.status is RunStatus.DELETED):
            self._add(Kind.ROLLED_BACK, f"was rolled back, but {steps} of it are there still", run_id)
        elif again:
            self._add(Kind.STEP, f"{steps} are apart from the others that it made", run_id)
        elif thread_id is not None:
            if thread_id != self._thread_id:
                self._add(Kind.STEP, f"{steps} are of it, which is of thread {thread_id}", run_id)
            elif (stretch.first, stretch.last) != ((base_step or 0) + 1, last_step):
                said = f"{steps} are there, but by its record it made {(base_step or 0) + 1} to {last_step}"
                self._add(Kind.STEP, said, run_id)
        elif self._replay.complete and (history is None or history.status not in TERMINAL):
            self._add(Kind.STEP, f"{steps} are of it, of which nothing else is known", run_id)

    # Successors

    def _successors(self) -> None:
        """A chain of superseded_by must end, at a run that was not superseded or that has no record."""
        successors = dict(
            self._connection.execute(
                "SELECT run_id, superseded_by FROM runs WHERE thread_id = ?1 AND superseded_by IS NOT NULL "
                "UNION ALL "
                "SELECT run_id, superseded_by FROM tombstones WHERE thread_id = ?1 AND superseded_by IS NOT NULL",
                (self._thread_id,),
            )
        )
        ends: set[str] = set()
        for start in successors:
            path: dict[str, None] = {}
            at = start
            while at in successors and at not in ends and at not in path:
                path[at] = None
                at = successors[at]
            if at in path:
                self._add(Kind.SUPERSEDED, f"the chain of its successors leads back to {at}", start)
            ends.update(path)


def _disagreements(
    history: RunHistory,
    superseded_by: str | None,
    reason: str | None,
    create_time: int,
    start_time: int | None,
    end_time: int | None,
    epoch: int | None,
    attempt: int | None,
) -> list[str]:
    """Return where a record differs from the run's history, which has the same status.

    None stands for a column that the record does not have.
    """
    pairs: list[tuple[str, object, object]] = [
        ("superseded_by", superseded_by, history.superseded_by),
        ("reason", reason, history.reason),
    ]
    if history.status in TERMINAL:
        pairs.append(("its end", end_time, history.changed_at))
    if history.number is not None:
        pairs.append(("create_time", create_time, history.admitted_at))
        if epoch is not None:
            pairs.append(("epoch", epoch, history.claims))
            pairs.append(("attempt", attempt, history.claims - history.releases))
            pairs.append(("start_time", start_time, history.started_at))
    return [f"{name} is {said}, by its events {replayed}" for name, said, replayed in pairs if said != replayed]


def _named(stretch: Stretch | None) -> str:
    if stretch is None:
        return "no more"
    who = "made by hand" if stretch.run_id is None else f"of run {stretch.run_id}"
    return f"steps {stretch.first} to {stretch.last} {who}"
