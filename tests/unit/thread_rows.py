"""A thread in memory, which applies what the arbiter decides as a store would, one row after the other."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Committed, Json, Repeated, Run, Thread, ThreadView, Tombstone
from doubletext_statemachine.words import Reason, RunStatus

S, R = RunStatus, Reason

T: Final = "t"


@dataclass(frozen=True)
class World:
    """What a store would hold of a thread. `steps`: of which run each is, and `updates` what each changes; None for an
    input. `inputs`: whose input each is. `absorbs`: what the commit that it begins was to absorb, and did."""

    thread: Thread | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    graves: dict[str, Tombstone] = field(default_factory=dict)
    steps: tuple[str | None, ...] = ()
    updates: tuple[Json | None, ...] = ()
    inputs: tuple[str | None, ...] = ()
    asked: dict[str, Repeated] = field(default_factory=dict)
    absorbs: tuple[tuple[tuple[str, ...], int], ...] = ()

    @cached_property
    def in_flight(self) -> tuple[Run, ...]:
        flying = [run for run in self.runs.values() if run.status in (S.PENDING, S.RUNNING)]
        return tuple(sorted(flying, key=lambda run: run.sequence))

    @cached_property
    def running(self) -> Run | None:
        return next((run for run in self.in_flight if run.status is S.RUNNING), None)

    def view(self, request: commands.Command) -> ThreadView:
        named: Run | Tombstone | None = None
        if isinstance(request, commands.RunCommand):
            named = self.runs.get(request.run_id) or self.graves.get(request.run_id)
        repeated = self.asked.get(request.request_id or "") if isinstance(request, commands.AdmitRun) else None
        made = self.made(request.run_id, request.expected_step) if isinstance(request, commands.CommitStep) else None
        merged = {run.run_id: taken for run in self.in_flight if (taken := self.taken(run.run_id))}
        absorber = self.runs.get(self.taker(request.run_id)) if isinstance(request, commands.DeleteRun) else None
        return ThreadView(self.thread, self.in_flight, named, repeated, made, merged=merged, absorber=absorber)

    def taker(self, run_id: str) -> str:
        """The run that this one has become part of in the end; itself, if it has not."""
        while (run := self.runs.get(run_id)) is not None and run.merged_into is not None:
            run_id = run.merged_into
        return run_id

    def taken(self, run_id: str) -> tuple[Run, ...]:
        """The runs that have become part of this one."""
        merged = [run for run in self.runs.values() if run.run_id != run_id and self.taker(run.run_id) == run_id]
        return tuple(sorted(merged, key=lambda run: run.sequence))

    def made(self, run_id: str, step: int | None) -> Committed | None:
        """The run's commit that made the step as its first."""
        if step is None or not 0 < step <= len(self.steps) or self.steps[step - 1] != run_id:
            return None
        is_input, (absorb, absorbed) = self.inputs[step - 1] is not None, self.absorbs[step - 1]
        if is_input and not absorb:
            return None
        first = step - is_input
        taken = tuple(str(each) for each in self.inputs[first : first + absorbed])
        return Committed(self.updates[step - 1], absorb, first + absorbed, taken)

    def after(self, request: commands.Command, made: Decision, now: int) -> "World":
        if not made.writes:
            return self
        if made.deletes_thread:
            return World()
        runs, graves, asked = dict(self.runs), dict(self.graves), dict(self.asked)
        if made.admitted is not None and isinstance(request, commands.AdmitRun):
            runs[made.admitted.run_id] = made.admitted
        if isinstance(request, commands.AdmitRun) and request.request_id and made.run is not None:
            asked[request.request_id] = Repeated(made.run.run_id, request.digest, made.joins)
        for run in made.moved:
            if run.status is S.DELETED:
                assert run.reason is not None
                del runs[run.run_id]
                grave = (run.superseded_by, run.reason, run.create_time, now, run.merged_into)
                graves[run.run_id] = Tombstone(run.run_id, T, *grave)
            else:
                runs[run.run_id] = run
        if made.removes_run is not None:
            gone = runs.pop(made.removes_run)
            for name, run in runs.items():
                if run.merged_into == gone.run_id and gone.merged_into is not None:
                    runs[name] = run._replace(merged_into=gone.merged_into)
        steps = self.steps[: made.cut_to] + tuple(step.run_id for step in made.steps)
        updates = self.updates[: made.cut_to] + tuple(step.update for step in made.steps)
        inputs = self.inputs[: made.cut_to] + tuple(step.input_of for step in made.steps)
        absorbs = self.absorbs[: made.cut_to] + tuple((step.absorb, step.absorbed) for step in made.steps)
        return World(made.thread, runs, graves, steps, updates, inputs, asked, absorbs)
