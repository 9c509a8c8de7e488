"""Which runs may have killed the process that executed them, and are therefore tried again few at a time.

When a process dies, one of its runs may be to blame, and the others must not pay for it. As long as it is not known
which, no run is charged an attempt: all are suspects. They are tried again at most half as many at a time, and so on
after each further death, until one of them was the only suspect in execution. It is charged if that happens twice: the
first time, it may have been a run that had just come. The others are suspects either way. A run that was alone in its
process is charged at once. The same holds for the server's process and for workers. See docs/decisions/0057.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import IN_FLIGHT, Reason, RunStatus


class Verdict(NamedTuple):
    """What the death of a process means for the runs that it executed.

    charged   the run that is to blame; None while that is not known
    suspects  the runs that may be to blame, and how often each was the only suspect in a process that died
    at_once   how many suspects may be in execution at once from now on
    """

    charged: str | None
    suspects: Mapping[str, int]
    at_once: int


def judge(executed: Collection[str], suspected: Mapping[str, int]) -> Verdict:
    """executed: the runs that a process executed when it died; suspected: the suspects from before, of all processes"""
    suspects = {run: suspected[run] for run in executed if run in suspected}
    if len(suspects) == 1 or len(executed) == 1:
        (run,) = suspects or executed
        times = suspected.get(run, 0) + 1
        charged = run if times > 1 or len(executed) == 1 else None  # mutant: charged-twice
        return Verdict(charged, {**dict.fromkeys(executed, 0), run: times}, 1)
    suspects = suspects or dict.fromkeys(executed, 0)
    return Verdict(None, suspects, max(1, len(suspects) // 2))


@dataclass(slots=True)
class _Process:
    """A worker's process.

    runs      the runs that it executes
    fell_with the runs that it executed when the first of their leases ran out, for which `verdict` was found
    """

    runs: set[str] = field(default_factory=set)
    fell_with: frozenset[str] = frozenset()
    verdict: Verdict | None = None

    def judged(self, run_id: str, suspected: Mapping[str, int]) -> Verdict:
        """What it means if the lease of the run is over. Leases of one process run out one after the other."""
        known = self.verdict if run_id in self.fell_with else None
        return known or judge(self.runs, suspected)

    def fell(self, verdict: Verdict) -> None:
        if verdict is not self.verdict:
            self.fell_with, self.verdict = frozenset(self.runs), verdict


class Suspects:
    def __init__(self) -> None:
        self.runs: dict[str, int] = {}
        self._at_once = 0
        self._tried: set[str] = set()  # suspects that were handed out or are running
        self._workers: dict[str, _Process] = {}
        self._sparing: dict[str, str] = {}  # thread -> the run that is not charged if its lease turns out to be over
        self._worker_of: dict[str, tuple[str, str]] = {}  # thread -> the run that a worker executes there, the worker

    def suspect(self, runs: Mapping[str, int], at_once: int) -> None:
        self._at_once = min(self._at_once, at_once) if self.runs else at_once
        self.runs.update(runs)

    def may_be_tried(self, run_id: str) -> bool:
        return run_id not in self.runs or run_id in self._tried or len(self._tried) < self._at_once

    def tried(self, run_id: str) -> None:
        """The run was handed to a claimer."""
        if run_id in self.runs:
            self._tried.add(run_id)

    def waits(self, run_id: str) -> None:
        """The run waits for a claimer again."""
        self._tried.discard(run_id)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        for run in decision.moved:
            if run.status is RunStatus.RUNNING:
                self.started(run)
                continue
            self._left_its_worker(run)
            self._tried.discard(run.run_id)
            if run.status not in IN_FLIGHT:
                self.runs.pop(run.run_id, None)

    def started(self, run: Run) -> None:
        """Take note of a run that is in execution."""
        self.tried(run.run_id)
        if run.worker_id is not None:
            self._workers.setdefault(run.worker_id, _Process()).runs.add(run.run_id)
            self._worker_of[run.thread_id] = (run.run_id, run.worker_id)

    def _left_its_worker(self, run: Run) -> None:
        known, worker_id = self._worker_of.get(run.thread_id, ("", ""))
        if known != run.run_id:
            return
        del self._worker_of[run.thread_id]
        process = self._workers[worker_id]
        if run.reason in (Reason.LEASE_LOST, Reason.MAX_ATTEMPTS) or self._sparing.get(run.thread_id) == run.run_id:
            verdict = process.judged(run.run_id, self.runs)
            if run.run_id in verdict.suspects:
                self.suspect({run.run_id: verdict.suspects[run.run_id]}, verdict.at_once)
            process.fell(verdict)
        process.runs.discard(run.run_id)
        if not process.runs:
            del self._workers[worker_id]

    @contextmanager
    def sparing(self, thread_id: str) -> Iterator[str | None]:
        """Give the run on the thread that is not to be charged, should its worker have fallen silent; None for none."""
        run_id, worker_id = self._worker_of.get(thread_id, ("", ""))
        process = self._workers.get(worker_id)
        if process is None or process.judged(run_id, self.runs).charged == run_id:
            yield None
            return
        self._sparing[thread_id] = run_id
        try:
            yield run_id
        finally:
            self._sparing.pop(thread_id, None)
