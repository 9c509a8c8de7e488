"""Every small situation: from an empty thread, each request that can be made, until nothing new comes up."""

from collections import Counter, deque
from collections.abc import Iterator

from statemachine import errors
from statemachine import requests as ask
from statemachine.arbiter import decide
from statemachine.model import DEFAULT_REDUCERS, Output
from statemachine.status import CancelAction, Strategy
from tests.unit.invariants import judge
from tests.unit.play import ASSISTANT, ENQUEUE, GRAPHS, OTHER, Play, admission
from tests.unit.world import S, T, World

DELAY, ADMITTED = 10, 3
MOST_STEPS, MOST_EPOCHS = 1, 2


def requests(world: World) -> Iterator[ask.Request]:
    """Each request that may matter. Steps and epochs are bounded, or there would be no end."""
    thread = world.thread
    assert thread is not None
    yield from (
        ask.ClaimRun(T, GRAPHS),
        ask.ClaimRun(T, frozenset({"h"})),
        ask.Tick(T),
        ask.Recover(T),
        ask.DeleteThread(T),
    )
    if not world.steps:
        yield ask.UpdateState(T, "{}", DEFAULT_REDUCERS)
    if (number := thread.last_sequence + 1) <= ADMITTED:
        for strategy in Strategy:
            # The second run has a timeout and no grace.
            yield admission(f"r{number}", strategy, OTHER if number == 2 else ASSISTANT)
        if number < ADMITTED:
            yield admission(f"r{number}", ENQUEUE, delay=DELAY)
    for number in range(1, thread.last_sequence + 1):
        name = f"r{number}"
        run = world.runs.get(name)
        if run is not None:
            yield from (ask.CancelRun(T, name, action) for action in CancelAction)
            yield ask.DeleteRun(T, name)
        epoch = run.epoch if run else 1
        if thread.drain and thread.drain.run_id == name:
            yield from (ask.AcknowledgeStop(T, name, epoch), ask.AcknowledgeStop(T, name, epoch + 1))
        yield ask.SucceedRun(T, name, epoch - 1)
        if run is None or run.status is not S.RUNNING:
            yield ask.CommitStep(T, name, epoch, "{}")
            continue
        yield from (ask.SucceedRun(T, name, epoch, "{}"), ask.FailRun(T, name, epoch, "E", "m"))
        yield ask.PublishOutput(T, name, epoch, (Output("c", "{}"),))
        if run.last_step - (run.base_step or 0) <= MOST_STEPS:
            yield ask.CommitStep(T, name, epoch, "{}")
        if epoch < MOST_EPOCHS:
            yield ask.ReleaseRun(T, name, epoch)


def situation(world: World, now: int) -> object:
    """What of a world can make a difference to what follows: no absolute times, no numbers of events, and of the runs
    that are over only whether they left a record."""
    thread = world.thread
    if thread is None:
        return None

    def left(moment: int | None) -> int | None:
        return None if moment is None else max(moment - now, 0)

    runs = [
        (run.run_id, run.status, run.epoch, run.attempt, run.base_step, left(run.due_time), left(run.deadline))
        for run in world.in_flight()
    ]
    drain = thread.drain and (thread.drain.run_id, left(thread.drain.until))
    return thread.last_sequence, world.steps, drain, frozenset(world.runs), tuple(runs)


def next_moment(world: World, now: int) -> int | None:
    """When the passing of time makes the next difference."""
    assert world.thread is not None
    moments = [moment for run in world.in_flight() for moment in (run.due_time, run.deadline)]
    if world.thread.drain is not None:
        moments.append(world.thread.drain.until)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def test_no_request_breaks_an_invariant_in_any_situation_of_up_to_three_runs() -> None:
    play = Play()
    start = (play.world, play.now)
    seen, queue = {situation(*start)}, deque([start])
    met: Counter[type] = Counter()
    while queue:
        world, now = queue.popleft()
        if world.thread is None:
            continue
        leads_to = []
        if (later := next_moment(world, now)) is not None:
            leads_to.append((world, later))
        for request in requests(world):
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
        for each in leads_to:
            key = situation(*each)
            if key not in seen:
                seen.add(key)
                queue.append(each)
    assert len(seen) > 10_000
    kinds = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, ask.Request)}
    abstract = {ask.Request, ask.RunRequest, ask.LeaseRequest}
    assert kinds - abstract - set(met) == {ask.CreateThread, ask.UpdateThread}
