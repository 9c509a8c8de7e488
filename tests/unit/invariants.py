"""The invariants of the architecture, as one question asked of each Decision that is applied to a World."""

from collections import Counter
from dataclasses import replace

from statemachine import requests as ask
from statemachine.draft import Decision
from statemachine.model import Drain, Run, RunChanged, StepCommitted, Thread
from tests.unit.world import R, S, World


def judge(before: World, request: ask.Request, made: Decision, now: int, after: World) -> None:
    """Hold one applied Decision against the invariants. Numbers are those of architecture.md."""
    if made.deletes_thread:
        assert made.thread is None
        assert {run.run_id for run in made.moved} == {run.run_id for run in before.in_flight}
        if isinstance(request, ask.ExpireThread):
            assert before.thread
            assert (before.in_flight, before.thread.drain) == ((), None)
            assert before.thread.update_time <= request.idle_since
        return
    if not made.writes:
        assert after == before
        assert (made.moved, made.steps, made.events, made.admitted) == ([], [], [], None)
        assert (made.overdue, made.refusal) == (None, None)
        assert made.thread is None or made.outlook == outlook(after, made.thread, now)
        return
    thread = made.thread
    assert thread is not None
    running = [run for run in after.runs.values() if run.status is S.RUNNING]
    started = [run for run in running if (old := before.runs.get(run.run_id)) is None or old.status is not S.RUNNING]

    one_at_a_time_and_in_order(before, running, started, thread, now)
    terminal_is_final(before, made, now, after)
    only_a_lease_writes(before, request, made, now)
    a_lease_is_of_one_attempt(before, request, started, now, after)
    a_stopped_attempt_is_awaited(before, request, made, now)
    steps_are_whole(before, made, thread, after)
    supersession_ends(made, after)
    events_tell_all(before, request, made, thread, now)
    assert made.outlook == outlook(after, thread, now)


def one_at_a_time_and_in_order(before: World, running: list[Run], started: list[Run], thread: Thread, now: int) -> None:
    """1 and 4: none starts before the old attempt has acknowledged or its time is over; then by `sequence` among those
    that are due, one that was handed back before all."""
    assert len(running) <= 1
    drain = before.thread and before.thread.drain
    if started and drain:
        assert now >= drain.until
    assert not (thread.drain and running), "a run is running beside a stopped attempt"
    for run in started:
        waiting = [each for each in before.in_flight if each.due_time <= now or each.base_step is not None]
        assert run.run_id == min(waiting, key=lambda each: (each.base_step is None, each.sequence)).run_id
        assert run.due_time <= now


def terminal_is_final(before: World, made: Decision, now: int, after: World) -> None:
    """3, and so no stopped run is tried again; a record goes only when it is asked for."""
    moved = {run.run_id: run for run in made.moved}
    for run_id, run in before.runs.items():
        if run.status not in (S.PENDING, S.RUNNING):
            assert run_id not in moved
            assert after.runs.get(run_id) == run or made.removes_run == run_id
    for run_id, grave in before.graves.items():
        assert after.graves[run_id] == grave
    assert not set(after.runs) & set(after.graves)
    for run in moved.values():
        assert (run.end_time == now) if run.status not in (S.PENDING, S.RUNNING) else run.end_time is None


def only_a_lease_writes(before: World, request: ask.Request, made: Decision, now: int) -> None:
    """5: the current attempt of the running run, as long as its lease lasts; and of one that was stopped and is
    awaited, nothing but whether it still is."""
    if not isinstance(request, ask.LeaseRequest):
        assert made.refusal is None
        return
    holder, thread = before.running, before.thread
    if holder is not None:
        assert (holder.run_id, holder.epoch) == (request.run_id, request.epoch)
        assert holder.lease_expires is None or now < holder.lease_expires
        assert not (request.by_worker and holder.worker_id is None)
        assert made.refusal is None
        return
    assert thread is not None
    assert made.thread is not None
    drain = thread.drain
    assert drain is not None
    assert (drain.run_id, drain.epoch) == (request.run_id, request.epoch)
    assert not (request.by_worker and drain.worker_id is None)
    assert (made.moved, made.steps, made.events, made.cut_to, made.removes_run) == ([], [], [], None, None)
    assert made.thread == thread._replace(drain=made.thread.drain)
    assert (made.refusal is not None) == isinstance(request, (ask.SucceedRun, ask.FailRun))


def a_lease_is_of_one_attempt(before: World, request: ask.Request, started: list[Run], now: int, after: World) -> None:
    """A claim raises the epoch and uses up an attempt, of which there are so many; only handing back undoes that. A
    worker has a lease while it executes, and nobody else has one."""
    for run in after.runs.values():
        assert (run.lease_expires is not None) == (run.status is S.RUNNING and run.worker_id is not None)
        old = before.runs.get(run.run_id)
        if old is None:
            continue
        claims = run in started
        assert run.epoch == old.epoch + claims
        released = old.status is S.RUNNING and run.reason is R.RELEASED
        assert run.attempt == old.attempt + claims - released
        assert run.attempt <= run.assistant.max_attempts
        if old.status is S.RUNNING and run.reason in (R.LEASE_LOST, R.MAX_ATTEMPTS):
            assert (run.reason is R.MAX_ATTEMPTS) == (run.attempt == run.assistant.max_attempts)
            assert (run.reason is R.MAX_ATTEMPTS) == (run.status is S.ERROR)
            if old.lease_expires is None:
                assert isinstance(request, ask.Recover)
            else:
                assert isinstance(request, ask.Tick)
                assert old.lease_expires <= now
        elif old.status is S.RUNNING and run.status is S.PENDING:
            assert released


def a_stopped_attempt_is_awaited(before: World, request: ask.Request, made: Decision, now: int) -> None:
    """From the stop on until it acknowledges, or its lease or its grace is over, which the Decision then tells; a
    heartbeat makes it longer, within the grace."""
    assert made.thread is not None
    old, new = before.thread.drain if before.thread else None, made.thread.drain
    given_up = new is None and isinstance(request, (ask.Tick, ask.ClaimRun))
    assert made.overdue == (old if given_up else None)
    if new is None or new == old:
        return
    assert new.until <= new.grace_until
    if old is not None:
        assert isinstance(request, ask.Heartbeat)
        assert now < old.until
        assert new == replace(old, until=min(old.grace_until, now + request.lease))
        return
    (stopped,) = (run for run in made.moved if (was := before.running) is not None and run.run_id == was.run_id)
    assert stopped.status in (S.INTERRUPTED, S.DELETED, S.TIMEOUT)
    lease_expires = before.runs[stopped.run_id].lease_expires
    grace_until = now + stopped.assistant.stop_grace
    until = grace_until if lease_expires is None else min(grace_until, lease_expires)
    assert new == Drain(stopped.run_id, stopped.epoch, until, grace_until, stopped.worker_id)


def steps_are_whole(before: World, made: Decision, thread: Thread, after: World) -> None:
    """6: numbered without gaps; a run's are contiguous; rolled back none are left, otherwise all of them."""
    last = before.thread.last_step if before.thread else 0
    last = last if made.cut_to is None else made.cut_to
    assert [step.step for step in made.steps] == list(range(last + 1, last + 1 + len(made.steps)))
    assert thread.last_step == len(after.steps)
    for run_id in after.graves:
        assert run_id not in after.steps
    for run_id, run in after.runs.items():
        own = [number for number, owner in enumerate(after.steps, 1) if owner == run_id]
        if not own:
            assert run.last_step == 0
            assert run.attempt == 0 or run_id in before.runs
            continue
        assert run.base_step is not None
        assert own == list(range(run.base_step + 1, run.last_step + 1))
        if run.status is S.RUNNING or run.status is S.PENDING:
            assert run.last_step == thread.last_step
    gone = Counter(before.steps) - Counter(after.steps)
    assert set(gone) <= {run.run_id for run in made.moved if run.status is S.DELETED}


def supersession_ends(made: Decision, after: World) -> None:
    """7: what is superseded is so by the run admitted with it; the chains end at one that is not."""
    for run in made.moved:
        if run.reason is R.SUPERSEDED:
            assert made.admitted is not None
            assert run.superseded_by == made.admitted.run_id
            assert run.sequence < made.admitted.sequence
        else:
            assert run.superseded_by is None
    heirs = {run_id: run.superseded_by for run_id, run in after.runs.items()}
    heirs.update({run_id: grave.superseded_by for run_id, grave in after.graves.items()})
    for run_id in heirs:
        seen, heir = {run_id}, heirs[run_id]
        while heir is not None and heir in heirs:
            assert heir not in seen, "superseded_by goes in circles"
            seen.add(heir)
            heir = heirs[heir]


def events_tell_all(before: World, request: ask.Request, made: Decision, thread: Thread, now: int) -> None:
    """8: each has the next number; and only what they tell, or what is set or deleted, is an update of the thread."""
    earlier = before.thread
    first = (earlier.last_event if earlier else 0) + 1
    assert [event.sequence for event in made.events] == list(range(first, first + len(made.events)))
    assert thread.last_event == first - 1 + len(made.events)
    told = [(e.run_id, e.kind.before, e.kind.after) for e in made.events if isinstance(e.kind, RunChanged)]
    statuses = {run_id: run.status for run_id, run in before.runs.items()}
    expected = [(run.run_id, statuses[run.run_id], run.status) for run in made.moved]
    expected = [change for change in expected if change[1] is not change[2]]
    if made.admitted is not None:
        expected.insert(0, (made.admitted.run_id, None, S.PENDING))
        assert made.admitted.sequence == thread.last_sequence == (earlier.last_sequence if earlier else 0) + 1
    assert sorted(told, key=str) == sorted(expected, key=str)
    stepped = [(e.run_id, e.kind.step) for e in made.events if isinstance(e.kind, StepCommitted)]
    assert stepped == [(step.run_id, step.step) for step in made.steps]
    updates = made.events or isinstance(request, (ask.CreateThread, ask.UpdateThread, ask.DeleteRun))
    assert earlier is None or thread.update_time == (now if updates else earlier.update_time)


def outlook(after: World, thread: Thread, now: int) -> tuple[Run | None, int | None]:
    """What is in flight can go on: it runs until its time or its lease is over, or may be claimed, or there is a moment
    to wait for; and so it is with a stopped attempt, whether or not somebody waits behind it."""
    flying, running, drain = after.in_flight, after.running, thread.drain
    if running:
        return None, min((at for at in (running.deadline, running.lease_expires) if at is not None), default=None)
    if drain and now < drain.until:
        return None, drain.until
    over = drain.until if drain else None
    if due := [run for run in flying if run.due_time <= now]:
        return min(due, key=lambda run: (run.base_step is None, run.sequence)), over
    return None, over if drain else min((run.due_time for run in flying), default=None)
