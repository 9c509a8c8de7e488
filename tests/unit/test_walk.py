"""Every small situation: from an empty thread, each request that can be made, until nothing new comes up."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from statemachine import errors
from statemachine import requests as ask
from statemachine.arbiter import decide
from statemachine.model import DEFAULT_REDUCERS, Output, Run
from statemachine.status import CancelAction, Reason, Strategy
from tests.unit.invariants import judge
from tests.unit.play import ASSISTANT, ENQUEUE, GRACE, GRAPHS, LEASE, OTHER, Play, admission
from tests.unit.world import S, T, World

DELAY: Final = 10
FAR_AHEAD: Final = 10**15
LONG_LEASE: Final = GRACE + LEASE
"""So that a stopped attempt is awaited to the end of its lease, and to that of its grace."""
MOST_STEPS, MOST_EPOCHS = 1, 2
OUTPUT: Final = (Output("c", "{}"),)


class Bounds(NamedTuple):
    """How far a walk goes. Steps and epochs are bounded too, or there would be no end."""

    runs: int
    workers: bool
    situations: int


WALKS: Final = {
    "three runs, executed by the server": Bounds(3, False, 10_000),
    "two runs, executed by the server or by workers": Bounds(2, True, 4_000),
}


def requests(world: World, bounds: Bounds) -> Iterator[ask.Request]:
    """Each request that may matter."""
    thread = world.thread
    assert thread is not None
    yield from (
        ask.ClaimRun(T, GRAPHS),
        ask.ClaimRun(T, frozenset({"h"})),
        ask.Tick(T),
        ask.Recover(T),
        ask.DeleteThread(T),
        ask.ExpireThread(T, FAR_AHEAD),
    )
    if bounds.workers:
        yield from (ask.ClaimRun(T, GRAPHS, "w", lease) for lease in (LEASE, LONG_LEASE))
    if not world.steps:
        yield ask.UpdateState(T, "{}", DEFAULT_REDUCERS)
    if (number := thread.last_sequence + 1) <= bounds.runs:
        for strategy in Strategy:
            # The second run has a timeout and no grace.
            yield admission(f"r{number}", strategy, OTHER if number == 2 else ASSISTANT)
        if number < bounds.runs:
            yield admission(f"r{number}", ENQUEUE, delay=DELAY)
    for number in range(1, thread.last_sequence + 1):
        name = f"r{number}"
        run = world.runs.get(name)
        if run is not None:
            yield from (ask.CancelRun(T, name, action) for action in CancelAction)
            if bounds.workers or number == 1:  # one record gone shows it; more would triple the situations
                yield ask.DeleteRun(T, name)
        epoch = run.epoch if run else 1
        if thread.drain and thread.drain.run_id == name:
            yield from (ask.AcknowledgeStop(T, name, epoch), ask.AcknowledgeStop(T, name, epoch + 1))
        yield ask.SucceedRun(T, name, epoch - 1)
        if bounds.workers:
            yield from from_the_wire(name, run, epoch)
        if run is None or run.status is not S.RUNNING:
            yield ask.CommitStep(T, name, epoch, "{}")
        elif run.worker_id is None:
            yield from by_the_holder(name, run, epoch, by_worker=False)


def by_the_holder(name: str, run: Run, epoch: int, *, by_worker: bool) -> Iterator[ask.Request]:
    """What makes a difference only to a running run."""
    yield from (
        ask.SucceedRun(T, name, epoch, "{}", by_worker=by_worker),
        ask.FailRun(T, name, epoch, "E", "m", by_worker=by_worker),
        ask.PublishOutput(T, name, epoch, OUTPUT, by_worker=by_worker),
    )
    if run.last_step - (run.base_step or 0) <= MOST_STEPS:
        yield ask.CommitStep(T, name, epoch, "{}", by_worker=by_worker)
    if epoch < MOST_EPOCHS:
        yield ask.ReleaseRun(T, name, epoch, by_worker=by_worker)


def from_the_wire(name: str, run: Run | None, epoch: int) -> Iterator[ask.Request]:
    """What a worker may send at any time, of its own run or another's, once or again."""
    yield from (
        ask.Heartbeat(T, name, epoch, LEASE, by_worker=True),
        ask.SucceedRun(T, name, epoch, None, "digest", by_worker=True),
        ask.FailRun(T, name, epoch, "E", "m", "other digest", by_worker=True),
        ask.AcknowledgeStop(T, name, epoch, by_worker=True),
    )
    if run is None or run.status is not S.RUNNING or epoch < MOST_EPOCHS:
        yield ask.ReleaseRun(T, name, epoch, by_worker=True)
    if run is not None and run.status is S.RUNNING:
        yield from by_the_holder(name, run, epoch, by_worker=True)
        # The next step is there, or the newest one again, or it as another; and the run's input.
        numbers = {run.last_step, (run.base_step or 0) + 1}
        if run.last_step - (run.base_step or 0) <= MOST_STEPS:
            numbers.add(run.last_step + 1)
        for step in numbers:
            yield ask.CommitStep(T, name, epoch, "{}", step, by_worker=True)
        yield ask.CommitStep(T, name, epoch, '{"a":1}', run.last_step, by_worker=True)


def situation(world: World, now: int) -> object:
    """What of a world can make a difference to what follows: no absolute times, no numbers of events, and of the runs
    that are over only whether they left a record, and of which outcome."""
    thread = world.thread
    if thread is None:
        return None

    def left(moment: int | None) -> int | None:
        return None if moment is None else max(moment - now, 0)

    runs = [
        (
            *(run.run_id, run.status, run.epoch, run.attempt, run.base_step, left(run.due_time), left(run.deadline)),
            *(run.worker_id, left(run.lease_expires), run.reason is Reason.RELEASED),
        )
        for run in world.in_flight
    ]
    drain = thread.drain
    awaited = drain and (drain.run_id, drain.worker_id, left(drain.until), left(drain.grace_until))
    over = frozenset((run.run_id, run.outcome_digest) for run in world.runs.values())
    return thread.last_sequence, world.steps, awaited, over, tuple(runs)


def next_moment(world: World, now: int) -> int | None:
    """When the passing of time makes the next difference."""
    assert world.thread is not None
    moments = [at for run in world.in_flight for at in (run.due_time, run.deadline, run.lease_expires)]
    if world.thread.drain is not None:
        moments.append(world.thread.drain.until)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


@pytest.mark.parametrize("walk", list(WALKS))
def test_no_request_breaks_an_invariant_in_any_situation(walk: str) -> None:
    bounds, play = WALKS[walk], Play()
    start = (play.world, play.now)
    seen, queue = {situation(*start)}, deque([start])
    met: Counter[type] = Counter()
    late = 0
    while queue:
        world, now = queue.popleft()
        if world.thread is None:
            continue
        leads_to = []
        if (later := next_moment(world, now)) is not None:
            leads_to.append((world, later))
        for request in requests(world, bounds):
            try:
                made = decide(world.view(request), request, now)
            except errors.Refusal as refusal:
                met[type(refusal)] += 1
                continue
            met[type(request)] += 1
            after = world.after(request, made, now)
            judge(world, request, made, now, after)
            if made.writes:
                leads_to.append((after, now))
            late += made.refusal is not None
        for each in leads_to:
            key = situation(*each)
            if key not in seen:
                seen.add(key)
                queue.append(each)
    assert len(seen) > bounds.situations
    kinds = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, ask.Request)}
    abstract = {ask.Request, ask.RunRequest, ask.LeaseRequest}
    never = {ask.CreateThread, ask.UpdateThread} | (set() if bounds.workers else {ask.Heartbeat})
    assert kinds - abstract - set(met) == never
    assert bool(late) is bounds.workers
