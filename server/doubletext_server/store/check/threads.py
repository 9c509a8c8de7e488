"""Thread by thread: what the events tell, held against the rows."""

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from doubletext_server.store.check.replay import EVENTS, Replay, Row, Stretch, Told, called
from doubletext_server.store.check.report import Kind, Report
from doubletext_statemachine.words import IN_FLIGHT, TERMINAL, RunStatus

STEPS: Final = (
    "SELECT s.run_id, step, r.thread_id, base_step, r.last_step, g.run_id FROM steps s "
    "LEFT JOIN runs r ON r.run_id = s.run_id LEFT JOIN tombstones g ON g.run_id = s.run_id "
    "WHERE s.thread_id = ? ORDER BY step"
)


class ThreadCheck:
    """One thread's; `run` reads its rows once each. What it holds in memory grows with the number of its runs."""

    def __init__(self, connection: sqlite3.Connection, report: Report, thread_id: str, first_event: int) -> None:
        self._connection = connection
        self._report = report
        self._thread_id = thread_id
        self._replay = Replay(thread_id, first_event, report)
        self._rowless: dict[str, Told] = {}

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
        """Leaves in `_rowless` the runs that are told of and have no record."""
        admissions = self._replay.admissions
        untold = last_sequence - admissions
        if untold < 0 or (untold and self._replay.complete):
            self._add(Kind.COUNTER, f"last_sequence is {last_sequence}, but {admissions} admissions are told of")
        for run_id, *columns in self._rows(
            "SELECT run_id, status, first_event, sequence, "
            "superseded_by, reason, create_time, start_time, end_time, epoch, attempt FROM runs WHERE thread_id = ?"
        ):
            life = self._replay.runs.pop(run_id, None)
            for kind, what in self._compared(life, untold, *columns):
                self._add(kind, what, run_id)
        self._rowless = self._replay.runs
        for run_id, life in self._rowless.items():
            if life.status in IN_FLIGHT:
                self._add(Kind.HISTORY, f"is {called(life.status)} by its events, but has no record", run_id)
            if life.status is RunStatus.DELETED and life.output:
                said = f"was rolled back, but its output in event {life.output} is there still"
                self._add(Kind.ROLLED_BACK, said, run_id)

    def _compared(
        self, life: Told | None, untold: int, status: str, first_event: int, sequence: int, *record: Any
    ) -> Iterator[tuple[Kind, str]]:
        """A run's record beside what is told of it."""
        is_kept = self._replay.complete or first_event >= self._replay.first_event
        if life is None:
            if is_kept:
                yield Kind.HISTORY, f"is {status}, but no event tells of it"
            return
        if called(life.status) != status:
            yield Kind.HISTORY, f"is {status}, but by its events it is {called(life.status)}"
            return
        for what in _disagreements(life, *record):
            yield Kind.HISTORY, what
        if first_event not in (0, life.admitted_by) and is_kept:
            yield Kind.HISTORY, f"first_event is {first_event}, which does not tell of its admission"
        if life.number is not None and untold >= 0 and sequence != untold + life.number:
            yield Kind.COUNTER, f"has sequence {sequence}, but was admitted as number {untold + life.number}"

    def _tombstones(self) -> None:
        for run_id, *columns in self._rows(
            "SELECT run_id, superseded_by, reason, create_time, delete_time FROM tombstones WHERE thread_id = ?"
        ):
            life = self._rowless.get(run_id)
            if life is None:
                if self._replay.complete:
                    self._add(Kind.HISTORY, "has a tombstone, but no event tells of it", run_id)
            elif life.status is not RunStatus.DELETED:
                self._add(Kind.HISTORY, f"has a tombstone, but by its events it is {called(life.status)}", run_id)
            else:
                superseded_by, reason, create_time, delete_time = columns
                for what in _disagreements(life, superseded_by, reason, create_time, None, delete_time, None, None):
                    self._add(Kind.ROLLED_BACK, f"its tombstone: {what}", run_id)

    def _requests(self) -> None:
        """Those of a run whose record, or tombstone, is gone: it must have been there."""
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
        told = iter(self._replay.stretches)
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
                tale = next(told, None)
                agree = tale == Stretch(run_id, max(first, since), newest)
                if not agree:
                    self._add(Kind.STEP, f"{_named(stretch)} are there, but the events tell of {_named(tale)}")
        if agree and (tale := next(told, None)) is not None:
            self._add(Kind.STEP, f"the events tell of {_named(tale)}, but they are not there")
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
        steps, life = f"steps {stretch.first} to {stretch.last}", self._rowless.get(run_id)
        if tombstone is not None or (life is not None and life.status is RunStatus.DELETED):
            self._add(Kind.ROLLED_BACK, f"was rolled back, but {steps} of it are there still", run_id)
        elif again:
            self._add(Kind.STEP, f"{steps} are apart from the others that it made", run_id)
        elif thread_id is not None:
            if thread_id != self._thread_id:
                self._add(Kind.STEP, f"{steps} are of it, which is of thread {thread_id}", run_id)
            elif (stretch.first, stretch.last) != ((base_step or 0) + 1, last_step):
                said = f"{steps} are there, but by its record it made {(base_step or 0) + 1} to {last_step}"
                self._add(Kind.STEP, said, run_id)
        elif self._replay.complete and (life is None or life.status not in TERMINAL):
            self._add(Kind.STEP, f"{steps} are of it, of which nothing else is known", run_id)

    # Successors

    def _successors(self) -> None:
        """Chains of superseded_by end: at a run that was not superseded, or whose record is gone."""
        heirs = dict(
            self._connection.execute(
                "SELECT run_id, superseded_by FROM runs WHERE thread_id = ?1 AND superseded_by IS NOT NULL "
                "UNION ALL "
                "SELECT run_id, superseded_by FROM tombstones WHERE thread_id = ?1 AND superseded_by IS NOT NULL",
                (self._thread_id,),
            )
        )
        ends: set[str] = set()
        for start in heirs:
            path: dict[str, None] = {}
            at = start
            while at in heirs and at not in ends and at not in path:
                path[at] = None
                at = heirs[at]
            if at in path:
                self._add(Kind.SUPERSEDED, f"the chain of its successors leads back to {at}", start)
            ends.update(path)


def _disagreements(
    life: Told,
    superseded_by: str | None,
    reason: str | None,
    create_time: int,
    start_time: int | None,
    end_time: int | None,
    epoch: int | None,
    attempt: int | None,
) -> list[str]:
    """What a record says otherwise than the events, of a run whose status is told alike. None is what it leaves out."""
    pairs: list[tuple[str, object, object]] = [
        ("superseded_by", superseded_by, life.superseded_by),
        ("reason", reason, life.reason),
    ]
    if life.status in TERMINAL:
        pairs.append(("its end", end_time, life.changed_at))
    if life.number is not None:
        pairs.append(("create_time", create_time, life.admitted_at))
        if epoch is not None:
            pairs.append(("epoch", epoch, life.claims))
            pairs.append(("attempt", attempt, life.claims - life.releases))
            pairs.append(("start_time", start_time, life.started_at))
    return [f"{name} is {said}, by its events {told}" for name, said, told in pairs if said != told]


def _named(stretch: Stretch | None) -> str:
    if stretch is None:
        return "no more"
    who = "made by hand" if stretch.run_id is None else f"of run {stretch.run_id}"
    return f"steps {stretch.first} to {stretch.last} {who}"
