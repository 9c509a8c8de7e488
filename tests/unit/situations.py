"""What of a thread can make a difference to what follows: two threads of the same situation have the same future.

A `Situation` is what the walk tells threads apart by, so what is left out here must make no difference anywhere:

- Numbers of sequences, steps, events and epochs are only ever counted on and compared, so that only differences count.
- Times are compared with the present alone. What is past, is past: how long makes no difference.
- A run's steps are cut off together or not at all. It has its input, or more than that.
- The names and the request id of a run that is in flight are not asked for again, and of its strategy only whether it
  steers.
- What has not started has no attempt, and no lease; what is pending has no deadline yet, nor a worker any more.
- A run that is over is looked at by nobody, unless it is named. A walk that `remembers` tells apart how many have ended
  in which way, and which of them is awaited; another, whether there is a past to be named and gone back to, or not.

`scripts/deep walk` tries it: `alike`.
"""

from collections import Counter
from typing import TypeAlias

from doubletext_statemachine.model import Run
from doubletext_statemachine.words import Strategy
from tests.unit.thread_rows import R, S, World

Situation: TypeAlias = tuple[object, ...]


def situation(world: World, now: int, *, remembers: bool) -> Situation:
    """`remembers`: what is left of the runs that are over is part of it."""
    thread, stopping = world.thread, world.thread.stopping if world.thread else None
    if thread is None:
        return ()
    by_rank = sorted((run for run in world.in_flight if run.base_step is None), key=lambda run: run.rank)
    newest = max((run.sequence for run in by_rank), default=0)  # the one that JOIN answers
    unstarted = [(*_unstarted(run, now), run.sequence == newest) for run in by_rank]
    started = [_started(run, now) for run in world.in_flight if run.base_step is not None]
    awaited = stopping and (stopping.worker_id, _left(stopping.until, now), _left(stopping.grace_until, now))
    past = _past(world, stopping.run_id if stopping else None) if remembers else _has_a_past(world)
    return awaited, thread.held, thread.on_failure, *started, *unstarted, past


def _unstarted(run: Run, now: int) -> Situation:
    waits_since = _left(run.oldest_time or run.create_time, now - 2)  # `max_wait` looks back no further
    known = (run.assistant.key, _left(run.due_time, now), _left(run.expire_time, now))
    return (
        *known,
        run.strategy is Strategy.STEER,
        run.debounced,
        run.merges,
        waits_since if run.debounced or run.merges else None,
    )


def _started(run: Run, now: int) -> Situation:
    assert run.base_step is not None
    has_steps = run.last_step > run.base_step + 1
    known = (run.assistant.key, run.attempt, has_steps, run.merges, run.absorbed > 0)
    if run.status is S.RUNNING:
        return *known, run.worker_id, _left(run.deadline, now), _left(run.lease_expires, now)
    return *known, run.reason is R.RELEASED


def _has_a_past(world: World) -> bool:
    """A run that is over has left its record, another one a tombstone, and there are steps that cannot be cut off."""
    has_record = any(run.end_time is not None for run in world.runs.values())
    return bool(world.graves) and has_record and _base(world) > 0


def _base(world: World) -> int:
    return next((run.base_step for run in world.in_flight if run.base_step is not None), len(world.steps))


def _past(world: World, awaited: str | None) -> Situation:
    """How many runs have ended in which way, and whether it is the start of the thread that would be gone back to."""
    ended: Counter[Situation] = Counter()
    for name, run in world.runs.items():
        if run.end_time is not None:
            ended[run.status, run.outcome_digest, name == awaited] += 1
    for name in world.graves:
        ended[S.DELETED, None, name == awaited] += 1
    assert world.thread is not None
    return frozenset(ended.items()), _base(world) > 0, world.thread.last_sequence


def _left(moment: int | None, now: int) -> int | None:
    return None if moment is None else max(moment - now, 0)


def something_is_ahead(world: World, now: int) -> bool:
    """Whether the passing of time alone leads to another situation."""
    moments: list[int | None] = []
    for run in world.in_flight:
        moments += (run.due_time, run.expire_time) if run.status is S.PENDING else (run.deadline, run.lease_expires)
    if world.thread is not None and world.thread.stopping is not None:
        moments += (world.thread.stopping.until, world.thread.stopping.grace_until)
    return any(moment is not None and moment > now for moment in moments)
