"""A Decision, and the Draft in which the arbiter makes it: bookkeeping of numbers, moves, steps and events.

It holds no rules. `lifecycle` says which moves are legal and what they change, `arbiter` which command makes which.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from doubletext_statemachine.errors import Refusal, ThreadNotFound
from doubletext_statemachine.lifecycle import Move, Row, perform
from doubletext_statemachine.model import (
    Event,
    Json,
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
    ThreadView,
    Tombstone,
)
from doubletext_statemachine.queue import NOTHING, Upcoming, has_expired, on_offer, position, started_run, upcoming
from doubletext_statemachine.words import IN_FLIGHT, OnFailure, Reason, RunStatus, Trigger

_FAILED: Final = frozenset({RunStatus.ERROR, RunStatus.TIMEOUT})


@dataclass(slots=True)
class Decision:
    """What must be written, and what to answer. "Afterwards" means: once it is written.

    thread      the thread afterwards; None when there is none
    upcoming    what the thread waits for afterwards
    in_flight   the runs of the view that are in flight afterwards, and the run that was admitted
    admitted    the new run
    moved       the runs that moved or made a step, as they are afterwards; a DELETED one leaves a tombstone
    removes_run the finished run whose record is to be deleted
    cut_to      the last step to keep, when steps are cut off
    steps, events  what to add, in order
    writes      False when there is nothing to write
    run         the run that the command was about, afterwards; `queue_position` is its place in the queue, 0 for none
    superseded  the runs that `run` ended
    cancelled   the runs that CancelRuns ended, in order of their sequence
    edited      `run` has another due time, timeout, input or metadata
    merged      the runs that `run` has taken, directly or by way of others, in order of their sequence
    joins       the call answers `run`, which was in flight, and notes that it does if it has a request_id
    repeated    the run of the earlier call that this call repeats
    step        the number of the newest step that the command made
    absorbed    the ids of the runs whose inputs CommitStep took, in order
    offers      whether there are inputs that the run that has started may take
    overdue     a stopped attempt that the thread waits for no longer, though it has not acknowledged
    refusal     what to raise once all of this is written
    """

    thread: Thread | None
    upcoming: Upcoming = NOTHING
    in_flight: tuple[Run, ...] = field(default=(), compare=False)  # a view that lists more runs gives more
    creates_thread: bool = False
    deletes_thread: bool = False
    admitted: Run | None = None
    moved: list[Run] = field(default_factory=list)
    removes_run: str | None = None
    cut_to: int | None = None
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    writes: bool = True
    run: Run | Tombstone | None = None
    queue_position: int = 0
    superseded: list[Run] = field(default_factory=list)
    cancelled: list[Run] = field(default_factory=list)
    edited: bool = False
    merged: tuple[str, ...] = ()
    joins: bool = False
    repeated: str | None = None
    step: int = 0
    absorbed: tuple[str, ...] = ()
    offers: bool = False
    overdue: StoppingAttempt | None = None
    refusal: Refusal | None = None


class Draft:
    """A Decision in the making: the thread as it will be, one move after the other. `finish` returns the Decision."""

    def __init__(self, view: ThreadView, now: int) -> None:
        self.view = view
        self.now = now
        self.runs = {run.run_id: run for run in view.runs}
        self.decision = Decision(view.thread, writes=False)
        self._use(view.thread)

    def _use(self, thread: Thread | None) -> None:
        self.thread = thread
        if thread is not None:
            self.last_sequence, self.last_step, self.last_event = (
                thread.last_sequence,
                thread.last_step,
                thread.last_event,
            )
            self.stopping = thread.stopping

    def existing(self, thread_id: str) -> Thread:
        if self.thread is None:
            raise ThreadNotFound(thread_id=thread_id)
        return self.thread

    def create(self, thread: Thread) -> None:
        self.decision.creates_thread = self.decision.writes = True
        self._use(thread)

    def admit(self, run: Run, max_queued_runs: int, queued: int) -> Run:
        move = Move(run, self.view, self.now, max_queued_runs=max_queued_runs, queued=queued)
        return self._moved(run, perform(Trigger.ADMIT, move), {"first_event": self.last_event + 1})

    def move(self, trigger: Trigger, run: Run, *, lease: int | None = None, **changes: Any) -> Run:
        return self._moved(run, perform(trigger, Move(run, self.view, self.now, lease)), changes)

    def stop(self, trigger: Trigger, run: Run, reason: Reason, superseded_by: str | None = None) -> Run:
        """End a run from outside. What was merged into one that is rolled back goes with it."""
        stopped = self.move(trigger, run, reason=reason, superseded_by=superseded_by)
        if trigger is Trigger.ROLL_BACK:  # mutant: merged-goes
            for merged in self.view.merged.get(run.run_id, ()):
                self.move(trigger, merged, reason=reason, superseded_by=superseded_by, merged_into=run.run_id)
            self.decision.run = stopped
        return stopped

    def expire(self) -> None:
        """End the runs that should have started by now."""
        for run in [run for run in self.runs.values() if has_expired(run, self.now)]:
            self.move(Trigger.EXPIRE, run)

    def _moved(self, run: Run, row: Row, changes: dict[str, Any]) -> Run:
        """Carry out a row of the lifecycle, with the changes that the command gives."""
        changes.setdefault("reason", row.reason)
        changes.setdefault("lease_expires", None)
        if row.attempts:
            changes["attempt"] = run.attempt + row.attempts
        if row.starts:
            changes["epoch"] = run.epoch + 1
            changes["start_time"] = self.now
        if row.awaits:  # mutant: await-attempt
            self.stopping = self._stopping(run)
        if row.undoes:
            changes["last_step"] = 0
            if run.base_step is not None:
                self.decision.cut_to = self.last_step = run.base_step  # mutant: cut
        if row.ends:
            changes["end_time"] = self.now
            if run.base_step is None:
                changes["base_step"] = self.last_step
        moved = self.runs[run.run_id] = run._replace(status=row.dest, **changes)
        if row.source is None:
            self.decision.admitted = moved
        else:
            self.decision.moved.append(moved)
        merged_into = moved.merged_into if row.dest is RunStatus.MERGED else None
        self.event(run.run_id, RunChanged(row.source, row.dest, moved.superseded_by, moved.reason, merged_into))
        self.decision.run = moved
        if row.dest in _FAILED and moved.reason is not Reason.EXPIRED:
            self._hold_if_wanted()
        return moved

    def _hold_if_wanted(self) -> None:
        if self.thread and self.thread.on_failure is OnFailure.HOLD and not self.thread.held:  # mutant: hold-on-failure
            self.thread = self.thread._replace(held=True)
            self.event(None, ThreadChanged(held=True))

    def edit(self, run: Run, **changes: Any) -> None:
        """Change a run that waits, and tell of it."""
        edited = run._replace(revision=run.revision + 1, **changes)
        self.replace(edited)
        place = position(tuple(self.runs.values()), edited, self.now)
        self.decision.run, self.decision.edited, self.decision.queue_position = edited, True, place
        self.event(run.run_id, RunEdited(edited.revision, place))

    def replace(self, run: Run) -> None:
        """Write the run as it is given; its status is what it was."""
        self.runs[run.run_id] = run
        self.decision.moved.append(run)
        self.decision.writes = True

    def _stopping(self, run: Run) -> StoppingAttempt:
        grace_until = self.now + run.assistant.stop_grace
        until = grace_until if run.lease_expires is None else min(grace_until, run.lease_expires)
        return StoppingAttempt(run.run_id, run.epoch, until, grace_until, run.worker_id)

    def step(
        self,
        run_id: str | None,
        update: Json | None,
        reducers: Reducers,
        input_of: str | None = None,
        absorb: tuple[str, ...] = (),
        absorbed: int = 0,
    ) -> int:
        self.last_step += 1
        step = Step(self.last_step, run_id, update, reducers, input_of=input_of, absorb=absorb, absorbed=absorbed)
        self.decision.steps.append(step)
        self.event(run_id, StepCommitted(self.last_step))
        return self.last_step

    def step_of(self, run: Run, update: Json) -> Run:
        """A step of the running run."""
        stepped = run._replace(last_step=self.step(run.run_id, update, run.assistant.reducers))
        self.runs[run.run_id] = stepped
        return stepped

    def renew(self, run: Run, lease: int) -> None:
        """Let the running run's lease last for another `lease` from now."""
        renewed = run._replace(lease_expires=self.now + lease)
        self.runs[run.run_id] = renewed
        self.decision.moved.append(renewed)
        self.decision.run = renewed
        self.decision.writes = True

    def event(self, run_id: str | None, kind: RunChanged | StepCommitted | RunEdited | ThreadChanged | Output) -> None:
        self.last_event += 1
        self.decision.events.append(Event(self.last_event, run_id, kind))
        self.decision.writes = True

    def finish(self) -> Decision:
        decision = self.decision
        if self.thread is None or decision.deletes_thread:
            decision.thread = None
            return decision
        if decision.writes:
            changed = decision.events or decision.removes_run or self.thread is not self.view.thread
            self.thread = self.thread._replace(
                update_time=self.now if changed else self.thread.update_time,
                last_sequence=self.last_sequence,
                last_step=self.last_step,
                last_event=self.last_event,
                stopping=self.stopping,
            )
        decision.thread = self.thread
        decision.in_flight = tuple([run for run in self.runs.values() if run.status in IN_FLIGHT])
        decision.upcoming = upcoming(ThreadView(self.thread, decision.in_flight), self.now)
        if len(decision.in_flight) > 1 and (started := started_run(decision.in_flight)) is not None:
            decision.offers = bool(on_offer(decision.in_flight, started, self.now))
        if decision.admitted is not None:
            decision.queue_position = position(
                decision.in_flight, decision.admitted, self.now, self.view.unlisted_ahead
            )
        return decision
