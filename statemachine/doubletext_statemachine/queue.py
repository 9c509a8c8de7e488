"""The queue of a thread: which run may start now, which comes next, and until when nothing can change.

Pure functions of a ThreadView's runs. They need the head of the queue only; what counts runs adds those that the view
does not list. Which moves are legal is not decided here: see `lifecycle`.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from doubletext_statemachine.model import LARGEST_OFFER, RANKS, Run, ThreadView
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import RunStatus


class Upcoming(NamedTuple):
    """What a thread waits for: `ready` may be claimed now; at `wake` something may change without a command."""

    ready: Run | None = None
    wake: int | None = None


NOTHING: Final = Upcoming()


def upcoming(view: ThreadView, now: int) -> Upcoming:
    expiry = min((run.expire_time for run in view.runs if run.expire_time is not None and run.waits), default=None)
    running = running_run(view.runs)
    if running is not None:
        offers = [run.due_time for run in view.runs if run.due_time > now and _may_steer(run, running)]
        offer = min(offers, default=None)
        return Upcoming(wake=_first(running.deadline, running.lease_expires, expiry, offer))
    stopping = view.thread.stopping if view.thread else None
    if stopping is not None and now < stopping.until:  # mutant: grace-over
        return Upcoming(wake=_first(stopping.until, expiry))
    # The time of a stopped attempt is over: a tick must end the wait, whichever run comes next.
    over = _first(stopping.until if stopping is not None else None, expiry)
    head = min((run for run in pending_runs(view.runs) if not has_expired(run, now)), key=_order(now), default=None)
    if head is None or (view.thread is not None and view.thread.held):  # mutant: held
        return Upcoming(wake=over)
    if head.due_time <= now:
        return Upcoming(head, over)
    return Upcoming(wake=_first(head.due_time, over))


def _first(*times: int | None) -> int | None:
    return min((at for at in times if at is not None), default=None)


def has_expired(run: Run, now: int) -> bool:
    """It should have started before now, and has not: it never will."""
    return run.waits and run.expire_time is not None and run.expire_time <= now  # mutant: late-at-once


def in_order(runs: Sequence[Run], now: int) -> list[Run]:
    """The pending runs in the order in which they will start."""
    return sorted(pending_runs(runs), key=_order(now))


def position(runs: Sequence[Run], run: Run, now: int, unlisted_ahead: int = 0) -> int:
    """A pending run's place in the queue, from 1. `unlisted_ahead`: the runs before it that `runs` does not list."""
    order = _order(now)
    place = order(run)
    return 1 + unlisted_ahead + sum(order(other) < place for other in pending_runs(runs))


def _order(now: int) -> Callable[[Run], tuple[bool, int, int, int]]:
    """The sort key of pending runs.

    A run that started and was handed back goes first, since its steps are the thread's newest. Then come the runs that
    are due, by rank; then the delayed ones, by when they are due.
    """
    return lambda run: (run.base_step is None, max(run.due_time - now, 0), run.rank, run.sequence)  # mutant: due-order


def waiting_runs(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.waits]


def started_run(runs: Sequence[Run]) -> Run | None:
    """The run that has started and is not final: running, or handed back."""
    return next((run for run in runs if not run.waits), None)


def _may_steer(run: Run, started: Run) -> bool:
    if run.assistant.assistant_id != started.assistant.assistant_id:  # mutant: steers-its-own
        return False
    return run.waits and STRATEGIES[run.strategy].steers


def on_offer(runs: Sequence[Run], started: Run, now: int) -> list[Run]:
    """The runs whose inputs the one that has started may take now, in line order: as many as fit into an offer."""
    found: list[Run] = []
    size = 0
    for run in in_order(runs, now):
        if _may_steer(run, started) and run.due_time <= now and not has_expired(run, now):
            size += run.input_bytes
            if found and size > LARGEST_OFFER:
                break
            found.append(run)
    return found


def rank_of_next_steer(runs: Sequence[Run], sequence: int) -> int:
    """The rank of a run that is to steer: behind those that steer at the front of the line, and before all others."""
    line = sorted(waiting_runs(runs), key=lambda run: (run.rank, run.sequence))
    front = next((place for place, run in enumerate(line) if not STRATEGIES[run.strategy].steers), len(line))
    if front == len(line):
        return sequence * RANKS
    if front == 0:
        return line[0].rank - RANKS
    before, after = line[front - 1].rank, line[front].rank
    return before + max(1, min((after - before) // 2, RANKS // 1024))


def pending_runs(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status is RunStatus.PENDING]


def running_run(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if run.status is RunStatus.RUNNING), None)


def active_run(view: ThreadView, now: int) -> Run:
    """The run that another one meets: the running run, else the next to start."""
    return running_run(view.runs) or min(pending_runs(view.runs), key=_order(now))


def waiting_inputs(runs: Sequence[Run]) -> int:
    """How many inputs wait: those of the runs that have not started, and of what they have taken."""
    return sum(1 + run.merges for run in waiting_runs(runs))


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
