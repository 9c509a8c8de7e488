"""What holds of a thread at any moment, whatever led there: the invariants of the architecture that speak of states."""

from typing import Final

from doubletext_statemachine import queue as line
from doubletext_statemachine.model import Run, Thread, ThreadView
from doubletext_statemachine.words import Strategy, ThreadStatus, thread_status
from tests.unit.thread_rows import S, World

AFTER: Final = {
    S.SUCCESS: ThreadStatus.IDLE,
    S.INTERRUPTED: ThreadStatus.INTERRUPTED,
    S.ERROR: ThreadStatus.ERROR,
    S.TIMEOUT: ThreadStatus.ERROR,
}


def standing(world: World, now: int) -> None:
    """Hold a World against the invariants. Numbers are those of architecture.md."""
    thread = world.thread
    assert thread is not None
    one_runs_at_a_time(world, thread)
    each_has_its_steps(world, thread)
    supersession_ends(world)
    the_status_is_derived(world)
    time_is_told(world, thread, now)
    each_input_is_in_one_place(world)


def each_input_is_in_one_place(world: World) -> None:
    """7: an accepted input is a step, or waits, its own or by way of the run that took it; or it was never used, the
    last run that took it having ended without having run."""
    for name, run in world.runs.items():
        used = world.inputs.count(name)
        taker = world.runs.get(world.taker(name))
        if taker is None:  # its record was deleted
            assert used <= 1
        elif taker.base_step is not None and taker.last_step:
            assert used == 1, "a run that has started has used all that it took"
        else:
            assert used == 0
        assert (run.status is S.MERGED) == (run.merged_into is not None)


def one_runs_at_a_time(world: World, thread: Thread) -> None:
    """1: at most one run is running, and none beside a stopped attempt that is awaited; who has not started has no
    attempt behind it, and who has was due."""
    running = [run for run in world.in_flight if run.status is S.RUNNING]
    assert len(running) <= 1
    assert not (thread.stopping and running), "a run is running beside a stopped attempt"
    started = [run for run in world.in_flight if run.base_step is not None]
    assert len(started) <= 1
    assert not (thread.stopping and started), "a run that has steps waits beside a stopped attempt"
    for run in world.in_flight:
        if run.base_step is None:
            assert (run.status, run.attempt, run.epoch, run.reason) == (S.PENDING, 0, 0, None)


def each_has_its_steps(world: World, thread: Thread) -> None:
    """6: a run's steps are contiguous, all there, and the newest while it is in flight; rolled back none are left."""
    steps = world.steps
    assert not set(steps) & set(world.graves)
    for run_id, run in world.runs.items():
        if (count := steps.count(run_id)) == 0:
            assert run.last_step == 0
            assert run.status is not S.RUNNING
            continue
        first = steps.index(run_id)
        assert steps[first : first + count].count(run_id) == count
        assert (run.base_step, run.last_step) == (first, first + count)
        assert world.inputs[first : first + run.merges + 1][-1] == run_id
        later = [each for each in world.inputs[first + run.merges + 1 : first + count] if each is not None]
        assert len(later) == len(set(later)) == run.absorbed
        assert set(later) <= {each.run_id for each in world.taken(run_id)} or run.end_time is not None
        if run.status is S.RUNNING or run.status is S.PENDING:
            assert run.last_step == thread.last_step


def supersession_ends(world: World) -> None:
    """7: chains of `superseded_by` end, at a run that is not superseded."""
    heirs = {run_id: run.superseded_by for run_id, run in world.runs.items() if run.superseded_by}
    heirs.update({run_id: grave.superseded_by for run_id, grave in world.graves.items() if grave.superseded_by})
    for run_id in heirs:
        seen, heir = {run_id}, heirs[run_id]
        while heir in heirs:
            assert heir not in seen, "superseded_by goes in circles"
            seen.add(heir)
            heir = heirs[heir]


def the_status_is_derived(world: World) -> None:
    """10: the thread is busy while a run is in flight, else what the run that finished last has left it as."""
    over = [run for run in world.runs.values() if run.end_time is not None and run.status is not S.MERGED]
    newest = max(over, key=lambda run: (run.end_time or 0, run.sequence)).status if over else None
    said = thread_status(len(world.in_flight), newest)
    if any(run.status is S.PENDING or run.status is S.RUNNING for run in world.runs.values()):
        assert said is ThreadStatus.BUSY
    else:
        assert said is (AFTER[newest] if newest else ThreadStatus.IDLE)


def time_is_told(world: World, thread: Thread, now: int) -> None:
    """1 and 4: who may start at this moment is who heads the line, and nobody while an attempt is awaited."""
    assert line.upcoming(ThreadView(thread, world.in_flight), now) == upcoming(world, now)


def upcoming(world: World, now: int) -> tuple[Run | None, int | None]:
    """What is in flight can go on: it runs until its time or its lease is over, or may be claimed, or there is a moment
    to wait for; and so it is with a stopped attempt, whether or not somebody waits behind it."""
    running = world.running
    stopping = world.thread.stopping if world.thread else None
    late = [run.expire_time for run in world.in_flight if run.base_step is None]
    flying = [run for run in world.in_flight if run.base_step is not None or not is_late(run, now)]
    if running:
        steers = [run for run in world.in_flight if run.strategy is Strategy.STEER and run.base_step is None]
        offers = [run.due_time for run in steers if run.assistant == running.assistant and run.due_time > now]
        return None, _first(running.deadline, running.lease_expires, *late, *offers)
    if stopping and now < stopping.until:
        return None, _first(stopping.until, *late)
    over = _first(stopping.until if stopping else None, *late)
    if world.thread and world.thread.held:
        return None, over
    if due := [run for run in flying if run.due_time <= now]:
        return min(due, key=lambda run: (run.base_step is None, run.rank)), over
    return None, _first(over, *(run.due_time for run in flying))


def _first(*moments: int | None) -> int | None:
    return min((at for at in moments if at is not None), default=None)


def is_late(run: Run, now: int) -> bool:
    """It should have started by now."""
    return run.expire_time is not None and run.expire_time <= now
