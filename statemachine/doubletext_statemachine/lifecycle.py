"""The lifecycle of a run: one table of legal moves, each with the guards that must hold and what it changes.

The table runs on `transitions`. It decides about one run; what a command does to a thread is the arbiter's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import transitions

from doubletext_statemachine.errors import LeaseLost, QueueFull, Refusal, ThreadBusy
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, LARGEST_MERGED_INPUT, Run, ThreadView
from doubletext_statemachine.queue import busy_facts, has_expired, queue_limit, upcoming
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import IN_FLIGHT, LeaseCause, Reason, RunStatus, Trigger

NEW: Final = "new"
"""Where a run is before it is admitted; no run is ever stored there."""


@dataclass(slots=True)
class Move:
    """One move that somebody asks for; what the guards look at. `perform` fills in the last three, once.

    epoch            the epoch under which the caller holds its lease; None when the caller needs none
    max_queued_runs  the limit of threads that have none of their own
    queued           how many inputs wait once the run is admitted, its own among them
    """

    run: Run
    view: ThreadView
    now: int
    epoch: int | None = None
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    queued: int = 0
    state: str = ""
    row: "Row | None" = None
    refused_by: "Guard | None" = None


Guard: TypeAlias = Callable[[Move], bool]


def strategy_admits(move: Move) -> bool:
    """Nothing is in flight, or the run's strategy does not need that."""
    return not move.view.runs or not STRATEGIES[move.run.strategy].needs_idle


def queue_has_room(move: Move) -> bool:
    """No more inputs wait than may, with the run's own, and what it has taken is not too much for one run."""
    if move.run.merges and move.run.input_bytes > LARGEST_MERGED_INPUT:
        return False
    return move.queued <= _limit(move)  # mutant: queue-limit


def _limit(move: Move) -> int:
    return queue_limit(move.view, move.max_queued_runs)


def heads_its_thread(move: Move) -> bool:
    """No run is running, no stopped attempt is awaited, and this run is due and the next in the queue."""
    return upcoming(move.view, move.now).ready is move.run


def never_started(move: Move) -> bool:
    return move.run.base_step is None


def is_past_its_start(move: Move) -> bool:
    """It has a time by which it should have started, and has not."""
    return has_expired(move.run, move.now)


def holds_lease(move: Move) -> bool:
    """The caller's epoch is the run's current one, and its lease has not run out.

    Both halves matter: the epoch stops one who was replaced, the clock one who may be replaced at any moment.
    """
    return why_not_held(move) is None


def lease_is_over(move: Move) -> bool:
    """Whoever executed the run is silent: a worker past its lease, or the server's own process, which is gone."""
    return move.run.lease_expires is None or move.run.lease_expires <= move.now


def why_not_held(move: Move) -> LeaseCause | None:
    """What is wrong with the caller's lease of the running run; None when nothing is."""
    if move.epoch != move.run.epoch:  # mutant: lease-epoch
        return LeaseCause.CLAIMED_AGAIN
    if move.run.lease_expires is not None and move.run.lease_expires <= move.now:  # mutant: lease-over
        return LeaseCause.EXPIRED
    return None


def time_is_up(move: Move) -> bool:
    return move.run.deadline is not None and move.run.deadline <= move.now


def may_try_again(move: Move) -> bool:
    return move.run.attempt < move.run.assistant.max_attempts  # mutant: attempts-left


def attempts_used_up(move: Move) -> bool:
    return not may_try_again(move)


class Row(NamedTuple):
    """One legal move, and what it changes in the run beside its status. The Draft carries it out.

    Every move sets `reason` and `lease_expires` to what its command gives; else to `reason` of the row, and to None.

    attempts  is added to the run's attempts
    starts    a new attempt begins: it gets the next epoch, and starts now
    undoes    the run's steps are cut off, and its `last_step` is 0
    awaits    the attempt's code may go on for a while, and the thread waits for it (StoppingAttempt)
    """

    trigger: Trigger
    source: RunStatus | None
    dest: RunStatus
    guards: tuple[Guard, ...] = ()
    attempts: int = 0
    starts: bool = False
    undoes: bool = False
    awaits: bool = False
    reason: Reason | None = None

    @property
    def ends(self) -> bool:
        """The run ends now. If it never started, its `base_step` becomes the thread's newest step."""
        return self.dest not in IN_FLIGHT


T, S, R = Trigger, RunStatus, Reason
# fmt: off
TABLE: Final = (
    #   what happened while      then           only if                            and
    Row(T.ADMIT,     None,      S.PENDING,     (strategy_admits, queue_has_room)),  # mutant: reject-guard
    Row(T.CLAIM,     S.PENDING, S.RUNNING,     (heads_its_thread,),               attempts=+1, starts=True),
    Row(T.SUCCEED,   S.RUNNING, S.SUCCESS,     (holds_lease,)),
    Row(T.FAIL,      S.RUNNING, S.ERROR,       (holds_lease,)),
    # Handed back unharmed: it keeps its steps and goes before all that never started.
    Row(T.RELEASE,   S.RUNNING, S.PENDING,     (holds_lease,),  # mutant: release-attempt
                                                                                  attempts=-1, reason=R.RELEASED),
    Row(T.LOSE,      S.RUNNING, S.PENDING,     (lease_is_over, may_try_again),    reason=R.LEASE_LOST),
    Row(T.LOSE,      S.RUNNING, S.ERROR,       (lease_is_over, attempts_used_up), reason=R.MAX_ATTEMPTS),
    # Its executor died, and another of that one's runs may be to blame.
    Row(T.SPARE,     S.RUNNING, S.PENDING,     (lease_is_over,),                  attempts=-1, reason=R.RELEASED),
    Row(T.TIME_OUT,  S.RUNNING, S.TIMEOUT,     (time_is_up,),                     awaits=True, reason=R.TIMEOUT),
    Row(T.INTERRUPT, S.RUNNING, S.INTERRUPTED,                                    awaits=True),
    # A queued run has done nothing yet, and is stopped the same way: its input never reaches the state.
    Row(T.INTERRUPT, S.PENDING, S.INTERRUPTED),
    Row(T.ROLL_BACK, S.RUNNING, S.DELETED,                                        awaits=True, undoes=True),
    Row(T.ROLL_BACK, S.PENDING, S.DELETED,                                        undoes=True),
    # Its input becomes one of another run's. The only move out of a final status: it goes where that run goes.
    Row(T.MERGE,     S.PENDING, S.MERGED,      (never_started,)),
    Row(T.ROLL_BACK, S.MERGED,  S.DELETED),
    Row(T.EXPIRE,    S.PENDING, S.TIMEOUT,     (is_past_its_start,),              reason=R.EXPIRED),
)
# fmt: on


class IllegalMove(Exception):
    """The table has no such move: a bug of the caller, never an answer to a client."""


def perform(trigger: Trigger, move: Move) -> Row:
    """Return the row of the table by which `move.run` moves.

    Raises the Refusal of the guard that does not hold, or IllegalMove.
    """
    move.state = _source(move.run.status)
    try:
        _MACHINE.events[trigger.value].trigger(move)
    except transitions.MachineError as error:
        raise IllegalMove(f"{trigger.value} while {move.state}") from error
    if move.row is not None:
        return move.row
    refuse = _REFUSALS.get(move.refused_by) if move.refused_by else None
    if refuse is None:
        raise IllegalMove(f"{trigger.value} while {move.state}: not {move.refused_by and move.refused_by.__name__}")
    raise refuse(move)


def _source(status: RunStatus | None) -> str:
    return status.value if status else NEW


def _condition(guard: Guard) -> Callable[[Any], bool]:
    def holds(event: Any) -> bool:
        if guard(event.model):
            return True
        event.model.refused_by = guard
        return False

    return holds


class _Transition(transitions.Transition):
    """Bypasses the library's callbacks and its change of the model's state, which this table does not use: a move takes
    22 microseconds without them, and 45 with them: docs/decisions/0042."""

    row: Row

    def execute(self, event: Any) -> bool:
        if not all(condition.check(event) for condition in self.conditions):
            return False
        event.model.row = self.row
        return True


class _Machine(transitions.Machine):
    transition_cls = _Transition

    def add_row(self, row: Row) -> None:
        source = _source(row.source)
        conditions: list[Any] = [_condition(guard) for guard in row.guards]
        self.add_transition(row.trigger.value, source, row.dest.value, conditions=conditions)
        added: Any = self.events[row.trigger.value].transitions[source][-1]
        added.row = row


def _machine() -> _Machine:
    machine = _Machine(
        model=None,
        states=[NEW, *(status.value for status in RunStatus)],
        initial=NEW,
        auto_transitions=False,
        send_event=True,
    )
    for row in TABLE:
        machine.add_row(row)
    return machine


_MACHINE: Final = _machine()


_REFUSALS: Final[dict[Guard, Callable[[Move], Refusal]]] = {
    strategy_admits: lambda move: ThreadBusy(**busy_facts(move.view, move.now)),
    queue_has_room: lambda move: QueueFull(
        thread_id=move.run.thread_id, queued_runs=move.queued - 1, max_queued_runs=_limit(move)
    ),
    holds_lease: lambda move: LeaseLost(
        run_id=move.run.run_id, epoch=move.epoch, current_epoch=move.run.epoch, cause=why_not_held(move)
    ),
}
