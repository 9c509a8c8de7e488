"""The queue of a thread: which run may start now, which comes next, and until when nothing can change.

Pure functions of a ThreadView's runs. They need the head of the queue only; what counts runs adds those that the view
does not list. Which moves are legal is not decided here: see `lifecycle`.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from doubletext_statemachine.model import Run, ThreadView
from doubletext_statemachine.words import RunStatus


class Upcoming(NamedTuple):
    """What a thread waits for: `ready` may be claimed now; at `wake` something may change without a command."""

    ready: Run | None = None
    wake: int | None = None


NOTHING: Final = Upcoming()


def upcoming(view: ThreadView, now: int) -> Upcoming:
    running = running_run(view.runs)
    if running is not None:
        ends = [at for at in (running.deadline, running.lease_expires) if at is not None]
        return Upcoming(wake=min(ends, default=None))
    stopping = view.thread.stopping if view.thread else None
    if stopping is not None and now < stopping.until:  # mutant: grace-over
        return Upcoming(wake=stopping.until)
    # The time of a stopped attempt is over: a tick must end the wait, whichever run comes next.
    over = stopping.until if stopping is not None else None
    if not view.runs:
        return Upcoming(wake=over)
    head = min(pending_runs(view.runs), key=_order(now))
    if head.due_time <= now:
        return Upcoming(head, over)
    return Upcoming(wake=head.due_time if over is None else over)


def in_order(runs: Sequence[Run], now: int) -> list[Run]:
    """The pending runs in the order in which they will start."""
    return sorted(pending_runs(runs), key=_order(now))


def position(runs: Sequence[Run], run: Run, now: int, unlisted_ahead: int = 0) -> int:
    """A pending run's place in the queue, from 1. `unlisted_ahead`: the runs before it that `runs` does not list."""
    order = _order(now)
    place = order(run)
    return 1 + unlisted_ahead + sum(order(other) < place for other in pending_runs(runs))


def _order(now: int) -> Callable[[Run], tuple[bool, int, int]]:
    """The sort key of pending runs.

    A run that started and was handed back goes first, since its steps are the thread's newest. Then come the runs that
    are due, by admission; then the delayed ones, by when they are due.
    """
    return lambda run: (run.base_step is None, max(run.due_time - now, 0), run.sequence)  # mutant: due-order


def pending_runs(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status is RunStatus.PENDING]


def running_run(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if run.status is RunStatus.RUNNING), None)


def active_run(view: ThreadView, now: int) -> Run:
    """The run that another one meets: the running run, else the next to start."""
    return running_run(view.runs) or min(pending_runs(view.runs), key=_order(now))


def pending_count(view: ThreadView) -> int:
    return len(pending_runs(view.runs)) + view.unlisted


def queue_limit(view: ThreadView, default: int) -> int:
    return (view.thread and view.thread.max_queued_runs) or default


def busy_facts(view: ThreadView, now: int) -> dict[str, object]:
    """What the refusals of a busy thread say about it."""
    active = active_run(view, now)
    assert active.status is not None
    return {
        "thread_id": active.thread_id,
        "active_run_id": active.run_id,
        "active_run_status": active.status.value,
        "in_flight_runs": len(view.runs) + view.unlisted,
    }
