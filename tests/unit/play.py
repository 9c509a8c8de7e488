"""A hand to play the arbiter with: short words for what tests ask of a thread, each request held to the invariants."""

from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Assistant, Reducers, Run, Thread, Tombstone
from doubletext_statemachine.words import CancelAction, Reducer, Strategy
from tests.unit.invariants import judge
from tests.unit.world import T, World

ENQUEUE, REJECT, INTERRUPT, ROLLBACK = Strategy.ENQUEUE, Strategy.REJECT, Strategy.INTERRUPT, Strategy.ROLLBACK

START: Final = 1_000
GRACE: Final = 50
LEASE: Final = 20
COUNTERS: Final[Reducers] = {"count": Reducer.APPEND}
ASSISTANT: Final = Assistant(1, "a", "g", 0, stop_grace=GRACE, max_attempts=2)
OTHER: Final = Assistant(2, "b", "h", 0, stop_grace=0, max_attempts=1, run_timeout=30, reducers=COUNTERS)
GRAPHS: Final = frozenset({"g", "h"})


class Play:
    """A thread to play on: each request is decided, judged and applied. Runs are named by the test."""

    def __init__(self, **thread: Any) -> None:
        self.now = START
        self.world = World()
        self.put(commands.CreateThread(T, **thread))

    def decide(self, request: commands.Command) -> Decision:
        return decide(self.world.view(request), request, self.now)

    def put(self, request: commands.Command) -> Decision:
        made = self.decide(request)
        after = self.world.after(request, made, self.now)
        judge(self.world, request, made, self.now, after)
        self.world = after
        return made

    def admit(self, name: str, strategy: Strategy | None = ENQUEUE, **more: Any) -> Decision:
        return self.put(admission(name, strategy, **more))

    def claim(self, *graphs: str) -> Run | None:
        run = self.put(commands.ClaimRun(T, frozenset(graphs) or GRAPHS)).run
        assert not isinstance(run, Tombstone)
        return run

    def claimed(self, name: str) -> Run:
        run = self.claim()
        assert run is not None, f"nothing to claim, {name} expected"
        assert run.run_id == name
        return run

    def start(self, name: str, *, steps: int = 0, **more: Any) -> Run:
        """A run that is running and has made its input's step and `steps` more."""
        self.admit(name, **more)
        run = self.claimed(name)
        for _ in range(steps):
            self.put(commands.CommitStep(T, name, run.epoch, "{}"))
        return self.world.runs[name]

    def run(self, name: str) -> Run:
        return self.world.runs[name]

    def take(self, name: str, *, lease: int = LEASE, worker: str = "w") -> Run:
        """The next run, which is `name`, claimed by a worker."""
        run = self.put(commands.ClaimRun(T, GRAPHS, worker, lease)).run
        assert isinstance(run, Run), f"nothing to claim, {name} expected"
        assert run.run_id == name
        return run

    def remote(self, name: str, *, steps: int = 0, lease: int = LEASE, **more: Any) -> Run:
        """A run that a worker has claimed, and that has made its input's step and `steps` more."""
        self.admit(name, **more)
        self.take(name, lease=lease)
        for _ in range(steps):
            self.put(self.wire(commands.CommitStep, name, "{}"))
        return self.world.runs[name]

    def wire(self, kind: type[Any], name: str, *more: Any, epoch: int | None = None, **named: Any) -> Any:
        """A worker's request, under the epoch of its run, or of the attempt that is awaited."""
        if epoch is None:
            stopping = self.thread.stopping
            epoch = stopping.epoch if stopping and stopping.run_id == name else self.run(name).epoch
        return kind(T, name, epoch, *more, by_worker=True, **named)

    def beat(self, name: str, lease: int = LEASE) -> Decision:
        return self.put(self.wire(commands.Heartbeat, name, lease))

    def held(self, kind: type[Any], name: str, *more: Any, epoch: int | None = None) -> Any:
        """A request under the run's lease."""
        return kind(T, name, self.run(name).epoch if epoch is None else epoch, *more)

    def succeed(self, name: str) -> Decision:
        return self.put(self.held(commands.SucceedRun, name))

    def cancel(self, name: str, action: CancelAction = CancelAction.INTERRUPT) -> Decision:
        return self.put(commands.CancelRun(T, name, action))

    @property
    def thread(self) -> Thread:
        assert self.world.thread is not None
        return self.world.thread

    def steps(self) -> tuple[str | None, ...]:
        """Of which run each step is."""
        return self.world.steps

    def statuses(self) -> dict[str, str]:
        """Of all runs ever admitted, by name."""
        alive = {name: run.status.value for name, run in self.world.runs.items() if run.status}
        return {**alive, **dict.fromkeys(self.world.graves, "deleted")}

    def refused(self, request: commands.Command, refusal: type[errors.Refusal]) -> dict[str, str]:
        """The facts of the refusal that the request meets."""
        with pytest.raises(refusal) as met:
            self.decide(request)
        return met.value.facts


def admission(
    name: str, strategy: Strategy | None = ENQUEUE, assistant: Assistant = ASSISTANT, **more: Any
) -> commands.AdmitRun:
    return commands.AdmitRun(T, name, assistant.assistant_id, assistant, strategy=strategy, **more)


def busy_thread() -> Play:
    """R running, its input and two steps on top of the two of a finished run; P1 and P2 pending."""
    play = Play()
    play.start("old", steps=1)
    play.succeed("old")
    play.start("R", steps=2)
    play.admit("P1")
    play.admit("P2")
    play.now += 7
    return play
