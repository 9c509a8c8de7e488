"""The lifecycle of a run: one table of legal moves, each with the guards that must hold.

The table runs on `transitions`, without its models and without effects: what a move leads to is the arbiter's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import transitions

from doubletext_statemachine.errors import LeaseLost, QueueFull, Refusal, ThreadBusy
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, Run, ThreadView
from doubletext_statemachine.queue import busy_facts, pending_count, queue_limit, upcoming
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import RunStatus, Trigger

NEW: Final = "new"
"""Where a run is before it is admitted; no run is ever stored there."""


@dataclass(slots=True)
class Move:
    """One move that somebody asks for; what the guards look at.

    epoch            the epoch under which the caller holds its lease; None when the caller needs none
    max_queued_runs  the limit of threads that have none of their own
    """

    run: Run
    view: ThreadView
    now: int
    epoch: int | None = None
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    state: str = ""
    refused_by: "Guard | None" = None


Guard: TypeAlias = Callable[[Move], bool]


def strategy_admits(move: Move) -> bool:
    """Nothing is in flight, or the run's strategy does not need that."""
    return not move.view.runs or not STRATEGIES[move.run.strategy].needs_idle


def queue_has_room(move: Move) -> bool:
    """The queue is shorter than its limit, or the run's strategy does not add to it: it finds or makes it empty."""
    return not STRATEGIES[move.run.strategy].queues or pending_count(move.view) < _limit(move)


def _limit(move: Move) -> int:
    return queue_limit(move.view, move.max_queued_runs)


def heads_its_thread(move: Move) -> bool:
    """Nothing runs, no stopped attempt is awaited, and of the runs that are due this one is first in line."""
    return upcoming(move.view, move.now).ready is move.run


def holds_lease(move: Move) -> bool:
    """The caller's epoch is the run's current one, and its lease has not run out.

    Both halves matter: the epoch stops one who was replaced, the clock one who may be replaced at any moment.
    """
    return why_not_held(move) is None


def lease_is_over(move: Move) -> bool:
    """Whoever executed the run is silent: a worker past its lease, or the server's own process, which is gone."""
    return move.run.lease_expires is None or move.run.lease_expires <= move.now


def why_not_held(move: Move) -> str | None:
    """What is wrong with the caller's lease of the running run; None when nothing is."""
    if move.epoch != move.run.epoch:
        return "CLAIMED_AGAIN"
    if move.run.lease_expires is not None and move.run.lease_expires <= move.now:
        return "EXPIRED"
    return None


def time_is_up(move: Move) -> bool:
    return move.run.deadline is not None and move.run.deadline <= move.now


def may_try_again(move: Move) -> bool:
    return move.run.attempt < move.run.assistant.max_attempts


def attempts_used_up(move: Move) -> bool:
    return not may_try_again(move)


class Row(NamedTuple):
    """One legal move."""

    trigger: Trigger
    source: RunStatus | None
    dest: RunStatus
    guards: tuple[Guard, ...] = ()


T, S = Trigger, RunStatus
# fmt: off
TABLE: Final = (
    #   what happened  while       then           only if
    Row(T.ADMIT,       None,       S.PENDING,     (strategy_admits, queue_has_room)),
    Row(T.CLAIM,       S.PENDING,  S.RUNNING,     (heads_its_thread,)),
    Row(T.SUCCEED,     S.RUNNING,  S.SUCCESS,     (holds_lease,)),
    Row(T.FAIL,        S.RUNNING,  S.ERROR,       (holds_lease,)),
    # Handed back unharmed: it keeps its steps and goes before all that never started.
    Row(T.RELEASE,     S.RUNNING,  S.PENDING,     (holds_lease,)),
    Row(T.LOSE,        S.RUNNING,  S.PENDING,     (lease_is_over, may_try_again)),
    Row(T.LOSE,        S.RUNNING,  S.ERROR,       (lease_is_over, attempts_used_up)),
    Row(T.TIME_OUT,    S.RUNNING,  S.TIMEOUT,     (time_is_up,)),
    Row(T.INTERRUPT,   S.RUNNING,  S.INTERRUPTED),
    # A queued run has done nothing yet, and is stopped the same way: its input never reaches the state.
    Row(T.INTERRUPT,   S.PENDING,  S.INTERRUPTED),
    Row(T.ROLL_BACK,   S.RUNNING,  S.DELETED),
    Row(T.ROLL_BACK,   S.PENDING,  S.DELETED),
)
# fmt: on


class IllegalMove(Exception):
    """The table has no such move: a bug of the caller, never an answer to a client."""


def perform(trigger: Trigger, move: Move) -> RunStatus:
    """Return the status that `move.run` moves to.

    Raises the Refusal of the guard that does not hold, or IllegalMove.
    """
    move.state = move.run.status.value if move.run.status else NEW
    try:
        moved = _MACHINE.events[trigger.value].trigger(move)
    except transitions.MachineError as error:
        raise IllegalMove(f"{trigger.value} while {move.state}") from error
    if moved:
        return RunStatus(move.state)
    refuse = _REFUSALS.get(move.refused_by) if move.refused_by else None
    if refuse is None:
        raise IllegalMove(f"{trigger.value} while {move.state}: not {move.refused_by and move.refused_by.__name__}")
    raise refuse(move)


def _condition(guard: Guard) -> Callable[[Any], bool]:
    def holds(event: Any) -> bool:
        if guard(event.model):
            return True
        event.model.refused_by = guard
        return False

    return holds


class _Transition(transitions.Transition):
    """A transition that checks and moves, and nothing else: there are no callbacks, and calling none takes longer than
    the rest of the move."""

    def execute(self, event: Any) -> bool:
        if not all(condition.check(event) for condition in self.conditions):
            return False
        event.model.state = self.dest
        return True


class _Machine(transitions.Machine):
    transition_cls = _Transition


def _machine() -> _Machine:
    machine = _Machine(
        model=None,
        states=[NEW, *(status.value for status in RunStatus)],
        initial=NEW,
        auto_transitions=False,
        send_event=True,
    )
    for row in TABLE:
        machine.add_transition(
            row.trigger.value,
            row.source.value if row.source else NEW,
            row.dest.value,
            conditions=[_condition(guard) for guard in row.guards],
        )
    return machine


_MACHINE: Final = _machine()


_REFUSALS: Final[dict[Guard, Callable[[Move], Refusal]]] = {
    strategy_admits: lambda move: ThreadBusy(**busy_facts(move.view, move.now)),
    queue_has_room: lambda move: QueueFull(
        thread_id=move.run.thread_id, queued_runs=pending_count(move.view), max_queued_runs=_limit(move)
    ),
    holds_lease: lambda move: LeaseLost(
        run_id=move.run.run_id, epoch=move.epoch, current_epoch=move.run.epoch, cause=why_not_held(move)
    ),
}
