"""What a request has a right to: to be carried out when nothing stands against it, and to be refused only then.

Without this an arbiter that refuses everything would break no invariant.
"""

from collections.abc import Callable
from typing import Any, Final

from doubletext_statemachine import commands, errors
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run
from doubletext_statemachine.queue import in_order
from doubletext_statemachine.words import CancelAction, Place, QueuePolicy, Strategy
from tests.unit.state_rules import is_late, upcoming
from tests.unit.thread_rows import R, S, World


def entitled(before: World, request: commands.Command, made: Decision, now: int, after: World) -> None:
    """Whether the Decision does what was asked for, where it may be done."""
    if (hold := _RIGHTS.get(type(request))) is not None:
        hold(before, request, made, now, after)


def refused_rightly(before: World, request: commands.Command, refusal: errors.Refusal, now: int) -> None:
    """A refusal names what is the case."""
    assert _REASONS[type(refusal)](before, request, now), f"{type(refusal).__name__} is not what stands in the way"


def in_force(before: World, request: commands.Command, now: int) -> bool:
    """Whether the request comes from the running run's current attempt, in the time of its lease."""
    run = before.running
    if not isinstance(request, commands.LeaseCommand) or run is None:
        return False
    in_time = run.lease_expires is None or now < run.lease_expires
    its_own = not (request.by_worker and run.worker_id is None)
    return (run.run_id, run.epoch) == (request.run_id, request.epoch) and in_time and its_own


def _admitted(before: World, request: commands.AdmitRun, made: Decision, now: int, after: World) -> None:
    """A run is pending once it is admitted, as the newest, in its place; REJECT has found nobody, ENQUEUE has room; a
    call that repeats an earlier one admits nobody."""
    run = made.admitted
    if request.request_id in before.asked:
        assert (run, made.repeated) == (None, before.asked[request.request_id].run_id)
        return
    if after.thread and request.strategy_on(after.thread) is Strategy.JOIN and before.in_flight:
        assert (run, made.joins, made.run) == (None, True, before.in_flight[-1])
        assert (made.moved, made.events, made.steps) == ([], [], [])
        return
    assert run is not None
    assert run == made.run == after.runs[request.run_id]
    assert (run.status, run.strategy) == (S.PENDING, request.strategy_on(after.thread))  # type: ignore[arg-type]
    assert run.due_time == _due(before, request, made, now)
    assert made.queue_position == 1 + in_order(after.in_flight, now).index(run)
    assert not (run.strategy is Strategy.REJECT and before.in_flight)
    assert _inputs(after) <= _limit(before, request)
    others = [other for other in after.in_flight if other.base_step is None and other is not run]
    started = next((other for other in before.in_flight if other.base_step is not None), None)
    if run.strategy is Strategy.STEER and started is not None and started.assistant == run.assistant:
        line = [other.strategy is Strategy.STEER for other in in_order(others, 2**62)]
        front = line.index(False) if False in line else len(line)
        assert sum(other.rank < run.rank for other in others) == front
        assert run.rank not in {other.rank for other in others}
    elif run.strategy in (Strategy.INTERRUPT, Strategy.ROLLBACK):
        assert all(run.rank < other.rank for other in others)
    else:
        assert all(run.rank > other.rank for other in others)


def _claimed(before: World, request: commands.ClaimRun, made: Decision, now: int, after: World) -> None:
    """Who heads the line starts, if the claimer has its graph; its input is applied with the first attempt."""
    ready, _ = upcoming(before, now)
    if ready is None or ready.assistant.graph not in request.graphs:
        assert made.writes == bool(_late(before, now))
        _late_ones_are_over(before, now, after)
        return
    _late_ones_are_over(before, now, after)
    run = after.runs[ready.run_id]
    assert made.run == run == after.running
    assert (run.worker_id, run.start_time) == (request.worker_id, now)
    assert run.lease_expires == (None if request.lease is None else now + request.lease)
    inputs = [(step.run_id, step.update, step.input_of) for step in made.steps]
    taken = [each.run_id for each in (*before.taken(run.run_id), run)]
    assert inputs == ([(run.run_id, None, each) for each in taken] if ready.base_step is None else [])


def _stepped(before: World, request: commands.CommitStep, made: Decision, now: int, after: World) -> None:
    """A step is committed, and then the inputs of what it absorbs; unless they are there already."""
    if request.expected_step not in (None, len(before.steps) + 1):
        earlier = before.made(request.run_id, request.expected_step)
        assert earlier is not None
        assert (earlier.update, earlier.absorb) == (request.update, request.absorb)
        assert (made.step, made.absorbed, made.writes) == (earlier.last_step, earlier.absorbed, False)
        return
    taken = [each for each in _steering(before, now) if each.run_id in request.absorb]
    updates = [] if request.update is None else [(request.run_id, request.update, None)]
    inputs = [(request.run_id, None, each.run_id) for each in taken]
    assert [(step.run_id, step.update, step.input_of) for step in made.steps] == updates + inputs
    assert (made.step, made.absorbed) == (len(after.steps), tuple(each.run_id for each in taken))
    for each in taken:
        run = after.runs[each.run_id]
        assert (run.status, run.merged_into) == (S.MERGED, request.run_id)


def _steering(world: World, now: int) -> list[Run]:
    """What the running run may take, in the order of the line."""
    due = [run for run in world.in_flight if run.waits and run.due_time <= now and not is_late(run, now)]
    steers = [run for run in due if run.strategy is Strategy.STEER and run.assistant == world.running.assistant]  # type: ignore[union-attr]
    return sorted(steers, key=lambda run: run.rank)


def _published(before: World, request: commands.PublishOutput, made: Decision, now: int, after: World) -> None:
    assert [event.kind for event in made.events] == list(request.outputs)


def _beaten(before: World, request: commands.Heartbeat, made: Decision, now: int, after: World) -> None:
    if in_force(before, request, now):
        assert after.runs[request.run_id].lease_expires == now + request.lease


def _ended(
    before: World, request: commands.SucceedRun | commands.FailRun, made: Decision, now: int, after: World
) -> None:
    """The running run ends as its attempt says; with a last step, if it has one."""
    if not in_force(before, request, now):
        return
    run = after.runs[request.run_id]
    assert (run.status, run.outcome_digest) == (_OUTCOMES[type(request)], request.digest)
    last = [request.update] if isinstance(request, commands.SucceedRun) and request.update is not None else []
    assert [step.update for step in made.steps] == last
    assert after.thread is not None
    assert after.thread.stopping is None


def _released(before: World, request: commands.ReleaseRun, made: Decision, now: int, after: World) -> None:
    if in_force(before, request, now):
        assert after.runs[request.run_id].status is S.PENDING


def _cancelled(before: World, request: commands.CancelRun, made: Decision, now: int, after: World) -> None:
    """A run in flight is stopped; one that is over is returned as it is."""
    run = before.runs.get(request.run_id)
    if run is None or run.end_time is not None:
        assert not made.writes
        assert made.run == (run or before.graves[request.run_id])
    elif request.action is CancelAction.ROLLBACK:
        assert request.run_id in after.graves
        assert after.steps == (before.steps if run.base_step is None else before.steps[: run.base_step])
    else:
        assert after.runs[request.run_id].status is S.INTERRUPTED
        assert after.steps == before.steps


def _ticked(before: World, request: commands.Tick, made: Decision, now: int, after: World) -> None:
    """Nothing of which the time was over is as it was; what is not over stays."""
    assert before.thread is None or after.thread is not None
    stopping, run = before.thread and before.thread.stopping, before.running
    over = run is not None and any(at is not None and at <= now for at in (run.deadline, run.lease_expires))
    assert made.writes == (over or (stopping is not None and stopping.until <= now) or bool(_late(before, now)))
    _late_ones_are_over(before, now, after)
    if run is not None and over:
        assert after.running is None


def _updated(before: World, request: commands.UpdateRun, made: Decision, now: int, after: World) -> None:
    """What is given is as it was asked for, and the run stands where it stood."""
    run, edited = before.runs[request.run_id], after.runs[request.run_id]
    assert run.waits
    assert request.expected_revision in (None, run.revision)
    due = run.due_time if request.delay is None else now + request.delay
    assert edited == run._replace(
        revision=run.revision + 1,
        due_time=due,
        expire_time=run.expire_time and run.expire_time + due - run.due_time,
        debounced=run.debounced and request.delay is None,
        input_bytes=edited.input_bytes,
    )
    assert made.queue_position == 1 + in_order(after.in_flight, now).index(edited)


def _moved(before: World, request: commands.MoveRun, made: Decision, now: int, after: World) -> None:
    """The run stands where it was asked for, and the others in the order in which they stood."""
    assert before.runs[request.run_id].waits
    line, others = ([run.run_id for run in _line(world)] for world in (after, before))
    others.remove(request.run_id)
    assert [name for name in line if name != request.run_id] == others
    place = line.index(request.run_id)
    if request.place is Place.BEFORE:
        assert line[place + 1] == request.other
    elif request.place is Place.AFTER:
        assert line[place - 1] == request.other
    else:
        assert place == (0 if request.place is Place.FIRST else len(others))


def _line(world: World) -> list[Run]:
    return sorted((run for run in world.in_flight if run.waits), key=lambda run: (run.rank, run.sequence))


def _all_cancelled(before: World, request: commands.CancelRuns, made: Decision, now: int, after: World) -> None:
    """Those asked for are over, and the others as they were."""
    for run in before.in_flight:
        if request.statuses and run.status not in request.statuses:
            assert after.runs[run.run_id] == run
        elif request.action is CancelAction.ROLLBACK:
            assert run.run_id in after.graves
        else:
            assert after.runs[run.run_id].status is S.INTERRUPTED


def _recovered(before: World, request: commands.Recover, made: Decision, now: int, after: World) -> None:
    """What the server executed is handed back, or given up; workers keep what they have."""
    stopping, run = before.thread and before.thread.stopping, before.running
    its_own = run is not None and run.worker_id is None
    assert made.writes == (its_own or (stopping is not None and stopping.worker_id is None))
    assert after.running == (None if its_own else run)


def _expired(before: World, request: commands.ExpireThread, made: Decision, now: int, after: World) -> None:
    thread = before.thread
    assert thread is None or before.in_flight or thread.stopping or thread.update_time > request.idle_since


def _late(world: World, now: int) -> list[Run]:
    return [run for run in world.in_flight if run.base_step is None and is_late(run, now)]


def _late_ones_are_over(before: World, now: int, after: World) -> None:
    for run in _late(before, now):
        assert (after.runs[run.run_id].status, after.runs[run.run_id].reason) == (S.TIMEOUT, R.EXPIRED)


def _due(before: World, request: commands.AdmitRun, made: Decision, now: int) -> int:
    """When the new run may start: after its delay, or once no message has come for so long, but no longer than that."""
    if request.debounce is None:
        return now + request.delay
    oldest = min([now, *(before.runs[name].create_time for name in made.merged)])
    latest = now + request.debounce if request.max_wait is None else oldest + request.max_wait
    return max(now, min(now + request.debounce, latest))


def _inputs(world: World) -> int:
    """How many inputs wait."""
    return sum(1 + len(world.taken(run.run_id)) for run in world.in_flight if run.base_step is None)


def _limit(world: World, request: commands.AdmitRun) -> int:
    return (world.thread and world.thread.max_queued_runs) or request.max_queued_runs


def _is_in_flight(run: Run | None) -> bool:
    return run is not None and run.status in (S.PENDING, S.RUNNING)


def _no_longer_waits(before: World, request: commands.UpdateRun | commands.MoveRun, now: int) -> bool:
    names = [request.run_id, *([request.other] if isinstance(request, commands.MoveRun) and request.other else [])]
    return any(not (run := before.runs[name]).waits or is_late(run, now) for name in names)


def _started_ids(before: World) -> set[str]:
    return {run.run_id for run in before.in_flight if run.base_step is not None}


def _full(before: World, request: commands.AdmitRun, now: int) -> bool:
    assert before.thread
    ends = request.policy_on(before.thread) is QueuePolicy.SUPERSEDE
    return request.strategy is not Strategy.REJECT and not ends and _inputs(before) >= _limit(before, request)


def _another(before: World, request: commands.AdmitRun, now: int) -> bool:
    return before.asked[request.request_id or ""].digest != request.digest


def _not_there(before: World, request: commands.CancelRun | commands.DeleteRun, now: int) -> bool:
    known = request.run_id in before.runs
    return not known and (isinstance(request, commands.DeleteRun) or request.run_id not in before.graves)


def _lost(before: World, request: commands.LeaseCommand, now: int) -> bool:
    run = before.runs.get(request.run_id)
    digest = getattr(request, "digest", None)
    repeats = run is not None and digest is not None and (run.epoch, run.outcome_digest) == (request.epoch, digest)
    return not in_force(before, request, now) and not repeats


def _misnumbered(before: World, request: commands.CommitStep, now: int) -> bool:
    return in_force(before, request, now) and request.expected_step not in (None, len(before.steps) + 1)


def _invalid(before: World, request: commands.Command, now: int) -> bool:
    if isinstance(request, commands.MoveRun):
        return request.other == request.run_id
    return isinstance(request, commands.CommitStep) and _misnumbered(before, request, now)


_OUTCOMES: Final = {commands.SucceedRun: S.SUCCESS, commands.FailRun: S.ERROR}

_RIGHTS: Final[dict[type[commands.Command], Callable[[World, Any, Decision, int, World], None]]] = {
    commands.UpdateRun: _updated,
    commands.MoveRun: _moved,
    commands.CancelRuns: _all_cancelled,
    commands.AdmitRun: _admitted,
    commands.ClaimRun: _claimed,
    commands.CommitStep: _stepped,
    commands.PublishOutput: _published,
    commands.Heartbeat: _beaten,
    commands.SucceedRun: _ended,
    commands.FailRun: _ended,
    commands.ReleaseRun: _released,
    commands.CancelRun: _cancelled,
    commands.Tick: _ticked,
    commands.Recover: _recovered,
    commands.ExpireThread: _expired,
}

_REASONS: Final[dict[type[errors.Refusal], Callable[[World, Any, int], bool]]] = {
    errors.ThreadBusy: lambda before, request, now: request.strategy is Strategy.REJECT and bool(before.in_flight),
    errors.ThreadInFlight: lambda before, request, now: bool(before.in_flight),
    errors.ThreadExists: lambda before, request, now: before.thread is not None,
    errors.ThreadNotFound: lambda before, request, now: before.thread is None,
    errors.AssistantNotFound: lambda before, request, now: request.assistant is None,
    errors.RequestIdReused: _another,
    errors.QueueFull: _full,
    errors.RunStarted: _no_longer_waits,
    errors.RevisionChanged: lambda before, request, now: (
        before.runs[request.run_id].revision != request.expected_revision
    ),
    errors.RunChanged: lambda before, request, now: request.expected_run_id not in _started_ids(before),
    errors.RunNotFound: _not_there,
    errors.RunInFlight: lambda before, request, now: _is_in_flight(before.runs.get(before.taker(request.run_id))),
    errors.LeaseLost: _lost,
    errors.InvalidField: _invalid,
}
