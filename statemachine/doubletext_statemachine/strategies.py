"""The multitask strategies, one row each: when a run is admitted, and what becomes of the runs in flight.

Whoever must know what a strategy means reads its row: the guards of an admission, the arbiter, the metrics, `check`,
and the table in README.md. No other code asks which strategy it is.
"""

from typing import Final, NamedTuple

from doubletext_statemachine.words import Strategy, Trigger


class Rules(NamedTuple):
    """What a strategy means.

    needs_idle  the new run is refused (ThreadBusy) while another is in flight
    ends        the move by which the new run's admission ends every run in flight; None: they go on
    queues      the new run adds to the queue, and is refused (QueueFull) when as many runs are pending as may be
    """

    needs_idle: bool = False
    ends: Trigger | None = None
    queues: bool = False


STRATEGIES: Final = {
    Strategy.ENQUEUE: Rules(queues=True),
    Strategy.REJECT: Rules(needs_idle=True),
    Strategy.INTERRUPT: Rules(ends=Trigger.INTERRUPT),
    Strategy.ROLLBACK: Rules(ends=Trigger.ROLL_BACK),
}
