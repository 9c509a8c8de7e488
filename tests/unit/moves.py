"""Moves to put to the lifecycle table and to its guards."""

from typing import Any, Final

from doubletext_statemachine import lifecycle
from doubletext_statemachine.lifecycle import IllegalMove, Move
from doubletext_statemachine.model import Assistant, Run, Thread, ThreadView
from doubletext_statemachine.words import RunStatus, Strategy, Trigger

NOW: Final = 1_000_000
ASSISTANT: Final = Assistant(1, "a", "g", 0, max_attempts=3)
THREAD: Final = Thread("t", 0, 0)


def a_run(status: RunStatus | None = RunStatus.PENDING, **changes: Any) -> Run:
    """A run of which every guard holds: second of three attempts under epoch 7, its time up just now."""
    started: dict[str, Any] = {"attempt": 2, "epoch": 7, "start_time": NOW - 60, "timeout": 60}
    return Run("r", "t", 1, ASSISTANT, Strategy.ENQUEUE, 0, 0, status=status)._replace(**{**started, **changes})


def move_of(run: Run, *others: Run, epoch: int | None = 7, now: int = NOW, queued: int = 1, **thread: Any) -> Move:
    in_flight = tuple(sorted((each for each in (run, *others) if each.status), key=lambda each: each.sequence))
    return Move(run, ThreadView(THREAD._replace(**thread), in_flight), now, epoch, queued=queued)


def other(status: RunStatus = RunStatus.PENDING, sequence: int = 2, **changes: Any) -> Run:
    return Run(f"r{sequence}", "t", sequence, ASSISTANT, Strategy.ENQUEUE, 0, 0, status=status)._replace(**changes)


def status_named(name: str) -> RunStatus | None:
    return None if name == "new" else RunStatus(name)


def outcome(trigger: str, move: Move) -> str:
    try:
        return lifecycle.perform(Trigger(trigger), move).dest.value
    except IllegalMove:
        return "-"
