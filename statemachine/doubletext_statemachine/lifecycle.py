"""The lifecycle of a run: one table of legal moves, each with the guards that must hold.

The table runs on `transitions`, without its models and without effects: what a move leads to is the arbiter's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

import transitions

from doubletext_statemachine.errors import LeaseLost, QueueFull, Refusal, ThreadBusy
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, Run, ThreadView
from doubletext_statemachine.queue import busy_facts, pending_count, queue_limit, upcoming
from doubletext_statemachine.words import LeaseCause, RunStatus, Strategy

NEW: Final = "new"
"""Where a run is before it is admitted; no run is ever stored there."""


class Trigger(Enum):
    ADMIT = "admit"
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RELEASE = "release"
    LOSE = "lose"
    TIME_OUT = "time_out"
    INTERRUPT = "interrupt"
    ROLL_BACK = "roll_back"


@dataclass(slots=True)
class Ask:
    """One move asked for: of which run, in which surroundings, when, and under which epoch (None: nobody's lease).

    max_queued_runs: the limit of threads that have none of their own
    """

    run: Run
    view: ThreadView
    now: int
    epoch: int | None = None
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    state: str = ""
    refused_by: "Guard | None" = None


Guard: TypeAlias = Callable[[Ask], bool]


def strategy_admits(ask: Ask) -> bool:
    """Only REJECT minds that the thread is busy; the others wait, or stop what is there."""
    return ask.run.strategy is not Strategy.REJECT or not ask.view.runs


def queue_has_room(ask: Ask) -> bool:
    """ENQUEUE adds to what is pending; the others find, or make, an empty queue."""
    return ask.run.strategy is not Strategy.ENQUEUE or pending_count(ask.view) < _limit(ask)


def _limit(ask: Ask) -> int:
    return queue_limit(ask.view, ask.max_queued_runs)


def heads_its_thread(ask: Ask) -> bool:
    """Nothing runs, no stopped attempt is awaited, and of the runs that are due this one is first in line."""
    return upcoming(ask.view, ask.now).ready is ask.run


def holds_lease(ask: Ask) -> bool:
    """The caller's epoch is the run's current one, and its lease has not run out.

    Both halves matter: the epoch stops one who was replaced, the clock one who may be replaced at any moment.
    """
    return why_not_held(ask) is None


def lease_is_over(ask: Ask) -> bool:
    """Whoever executed the run is silent: a worker past its lease, or the server's own process, which is gone."""
    return ask.run.lease_expires is None or ask.run.lease_expires <= ask.now


def why_not_held(ask: Ask) -> LeaseCause | None:
    """What is wrong with the caller's lease of the running run; None when nothing is."""
    if ask.epoch != ask.run.epoch:
        return LeaseCause.CLAIMED_AGAIN
    if ask.run.lease_expires is not None and ask.run.lease_expires <= ask.now:
        return LeaseCause.EXPIRED
    return None


def time_is_up(ask: Ask) -> bool:
    return ask.run.deadline is not None and ask.run.deadline <= ask.now


def may_try_again(ask: Ask) -> bool:
    return ask.run.attempt < ask.run.assistant.max_attempts


def attempts_used_up(ask: Ask) -> bool:
    return not may_try_again(ask)


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


def move(trigger: Trigger, ask: Ask) -> RunStatus:
    """Return the status that `ask.run` moves to.

    Raises the Refusal of the guard that does not hold, or IllegalMove.
    """
    ask.state = ask.run.status.value if ask.run.status else NEW
    try:
        moved = _MACHINE.events[trigger.value].trigger(ask)
    except transitions.MachineError as error:
        raise IllegalMove(f"{trigger.value} while {ask.state}") from error
    if moved:
        return RunStatus(ask.state)
    refuse = _REFUSALS.get(ask.refused_by) if ask.refused_by else None
    if refuse is None:
        raise IllegalMove(f"{trigger.value} while {ask.state}: not {ask.refused_by and ask.refused_by.__name__}")
    raise refuse(ask)


def _condition(guard: Guard) -> Callable[[Any], bool]:
    def holds(event: Any) -> bool:
        if guard(event.model):
            return True
        event.model.refused_by = guard
        return False

    return holds


class _Move(transitions.Transition):
    """A transition that checks and moves, and nothing else: there are no callbacks, and calling none takes longer than
    the rest of the move: docs/decisions/0042."""

    def execute(self, event: Any) -> bool:
        if not all(condition.check(event) for condition in self.conditions):
            return False
        event.model.state = self.dest
        return True


class _Machine(transitions.Machine):
    transition_cls = _Move


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


_REFUSALS: Final[dict[Guard, Callable[[Ask], Refusal]]] = {
    strategy_admits: lambda ask: ThreadBusy(**busy_facts(ask.view, ask.now)),
    queue_has_room: lambda ask: QueueFull(
        thread_id=ask.run.thread_id, queued_runs=pending_count(ask.view), max_queued_runs=_limit(ask)
    ),
    holds_lease: lambda ask: LeaseLost(
        run_id=ask.run.run_id, epoch=ask.epoch, current_epoch=ask.run.epoch, cause=why_not_held(ask)
    ),
}
