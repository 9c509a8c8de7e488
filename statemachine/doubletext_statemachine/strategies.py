"""The multitask strategies and queue policies, one row each: when a run is admitted, and what becomes of the others.

A strategy says what becomes of the run that has started, a queue policy what becomes of those that wait. Whoever must
know what one of them means reads its row: the guards of an admission, the arbiter, the metrics, `check`, and the table
in README.md. No other code asks which one it is.
"""

from typing import Final, NamedTuple

from doubletext_statemachine.words import QueuePolicy, Strategy, Trigger


class Rules(NamedTuple):
    """What a strategy means.

    needs_idle  the new run is refused (ThreadBusy) while another is in flight
    ends        the move by which the new run's admission ends the run that has started; None: it goes on
    ends_queue  the move by which it ends the runs that wait, where the queue policy says so
    first       the new run goes before all that wait
    joins       with a run in flight there is no new run: the call answers the newest one
    steers      the new run is offered to the one that has started, which may take its input as a step of its own; it
                goes before all that wait, but behind others that steer
    policies    the queue policies that it may have; the first is its default. Empty: it has none
    """

    needs_idle: bool = False
    ends: Trigger | None = None
    ends_queue: Trigger = Trigger.INTERRUPT
    first: bool = False
    joins: bool = False
    steers: bool = False
    policies: tuple[QueuePolicy, ...] = ()


_KEEP, _SUPERSEDE, _MERGE = QueuePolicy.KEEP, QueuePolicy.SUPERSEDE, QueuePolicy.MERGE
_ANY: Final = (_KEEP, _SUPERSEDE, _MERGE)
_STOPPING: Final = (_SUPERSEDE, _KEEP, _MERGE)

STRATEGIES: Final = {
    Strategy.ENQUEUE: Rules(policies=_ANY),
    Strategy.REJECT: Rules(needs_idle=True),
    Strategy.INTERRUPT: Rules(ends=Trigger.INTERRUPT, first=True, policies=_STOPPING),
    Strategy.ROLLBACK: Rules(ends=Trigger.ROLL_BACK, ends_queue=Trigger.ROLL_BACK, first=True, policies=_STOPPING),
    Strategy.JOIN: Rules(joins=True),
    Strategy.STEER: Rules(steers=True, policies=(_KEEP,)),
}


class QueueRules(NamedTuple):
    """What a queue policy means for the runs that wait.

    ends    they end, by the strategy's `ends_queue`
    merges  those of the same assistant become part of the new run, unless their `delay` has not passed
    """

    ends: bool = False
    merges: bool = False


QUEUE_POLICIES: Final = {
    QueuePolicy.KEEP: QueueRules(),
    QueuePolicy.SUPERSEDE: QueueRules(ends=True),
    QueuePolicy.MERGE: QueueRules(merges=True),
}


def policy_of(strategy: Strategy, *asked: QueuePolicy | None) -> QueuePolicy | None:
    """The first of those asked for that the strategy may have, else its default; None where it has none."""
    allowed = STRATEGIES[strategy].policies
    return next((policy for policy in asked if policy in allowed), allowed[0] if allowed else None)
