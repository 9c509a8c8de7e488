"""A thread's line: who may start now, who is next, and until when nothing can change.

Of a ThreadView's runs these need the front only; what counts runs adds those behind it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from doubletext_statemachine.model import Run, ThreadView
from doubletext_statemachine.words import RunStatus


class Upcoming(NamedTuple):
    """What a thread waits for: `ready` may be claimed now; at `wake` something may change without a request."""

    ready: Run | None = None
    wake: int | None = None


NOTHING: Final = Upcoming()


def upcoming(view: ThreadView, now: int) -> Upcoming:
    running = running_run(view.runs)
    if running is not None:
        ends = [at for at in (running.deadline, running.lease_expires) if at is not None]
        return Upcoming(wake=min(ends, default=None))
    stopping = view.thread.stopping if view.thread else None
    if stopping is not None and now < stopping.until:
        return Upcoming(wake=stopping.until)
    over = stopping.until if stopping is not None else None  # a tick is to end it, whoever comes next
    if not view.runs:
        return Upcoming(wake=over)
    head = min(waiting(view.runs), key=_place(now))
    if head.due_time <= now:
        return Upcoming(head, over)
    return Upcoming(wake=head.due_time if over is None else over)


def line(runs: Sequence[Run], now: int) -> list[Run]:
    """The pending runs in the order in which they will start."""
    return sorted(waiting(runs), key=_place(now))


def position(runs: Sequence[Run], run: Run, now: int, ahead: int = 0) -> int:
    """A pending run's place in line, from 1, with `ahead` more runs before it than are among `runs`."""
    place = _place(now)
    return 1 + ahead + sum(place(other) < place(run) for other in waiting(runs))


def _place(now: int) -> Callable[[Run], tuple[bool, int, int]]:
    """Where a pending run stands: one that has started and was handed back goes first, since its steps are the thread's
    newest; then those that are due, by admission; then the delayed ones, by when they are due."""
    return lambda run: (run.base_step is None, max(run.due_time - now, 0), run.sequence)


def waiting(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status is RunStatus.PENDING]


def running_run(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if run.status is RunStatus.RUNNING), None)


def active_run(view: ThreadView, now: int) -> Run:
    """The run in the way of another: the one that is running, else the next to start."""
    return running_run(view.runs) or min(waiting(view.runs), key=_place(now))


def pending_count(view: ThreadView) -> int:
    return len(waiting(view.runs)) + view.behind


def queue_limit(view: ThreadView, default: int) -> int:
    return (view.thread and view.thread.max_queued_runs) or default


def busy_facts(view: ThreadView, now: int) -> dict[str, object]:
    active = active_run(view, now)
    assert active.status is not None
    return {
        "thread_id": active.thread_id,
        "active_run_id": active.run_id,
        "active_run_status": active.status.value,
        "in_flight_runs": len(view.runs) + view.behind,
    }
