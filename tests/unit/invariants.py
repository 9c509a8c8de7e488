"""The invariants of the architecture, as one question asked of each Decision that is applied to a World.

What holds of a World whatever led to it stands in `standing`; what a request has a right to, in `entitled`.
"""

from dataclasses import replace

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run, RunChanged, StepCommitted, StoppingAttempt, Thread
from doubletext_statemachine.words import QueuePolicy, Strategy
from tests.unit.command_rules import entitled
from tests.unit.state_rules import is_late, standing, upcoming
from tests.unit.thread_rows import R, S, World


def judge(before: World, request: commands.Command, made: Decision, now: int, after: World) -> None:
    """Hold one applied Decision against the invariants. Numbers are those of architecture.md."""
    if made.deletes_thread:
        all_are_stopped(before, request, made)
        return
    if not made.writes:
        nothing_is_said(before, made)
        assert made.thread is None or made.upcoming == upcoming(after, now)
        entitled(before, request, made, now, after)
        return
    thread = made.thread
    assert thread is not None
    running = [run for run in after.runs.values() if run.status is S.RUNNING]
    started = [run for run in running if (old := before.runs.get(run.run_id)) is None or old.status is not S.RUNNING]

    one_at_a_time_and_in_order(before, started, now)
    terminal_is_final(before, made, now, after)
    only_a_lease_writes(before, request, made, now)
    a_lease_is_of_one_attempt(before, request, started, now, after)
    a_stopped_attempt_is_awaited(before, request, made, now)
    steps_are_whole(before, made, thread, after)
    supersession_is_atomic(before, request, made)
    events_tell_all(before, request, made, thread, now)
    the_outlook_is_told(made, now, after)
    standing(after, now)
    entitled(before, request, made, now, after)


def all_are_stopped(before: World, request: commands.Command, made: Decision) -> None:
    """A thread is deleted with all its runs, and by itself only when it is idle."""
    assert made.thread is None
    in_flight = {run.run_id for run in before.in_flight}
    assert {run.run_id for run in made.moved} == in_flight | {
        name for name in before.runs if name not in in_flight and before.taker(name) in in_flight
    }
    if isinstance(request, commands.ExpireThread):
        assert before.thread
        assert (before.in_flight, before.thread.stopping) == ((), None)
        assert before.thread.update_time <= request.idle_since


def nothing_is_said(before: World, made: Decision) -> None:
    """A Decision that writes nothing has nothing to write."""
    assert (made.thread, made.admitted, made.cut_to, made.removes_run) == (before.thread, None, None, None)
    assert (made.moved, made.steps, made.events) == ([], [], [])
    assert (made.creates_thread, made.overdue, made.refusal) == (False, None, None)


def the_outlook_is_told(made: Decision, now: int, after: World) -> None:
    """What the thread waits for is what will be: on it rests that nothing due is forgotten, and nothing polled."""
    assert made.upcoming == upcoming(after, now)
    assert made.in_flight == after.in_flight


def one_at_a_time_and_in_order(before: World, started: list[Run], now: int) -> None:
    """1 and 4: none starts before the old attempt has acknowledged or its time is over; then by `sequence` among those
    that are due, one that was handed back before all."""
    stopping = before.thread and before.thread.stopping
    if started and stopping:
        assert now >= stopping.until
    for run in started:
        waiting = [each for each in before.in_flight if each.due_time <= now or each.base_step is not None]
        in_time = [each for each in waiting if each.base_step is not None or not is_late(each, now)]
        assert run.run_id == min(in_time, key=lambda each: (each.base_step is None, each.rank)).run_id
        assert run.due_time <= now


def terminal_is_final(before: World, made: Decision, now: int, after: World) -> None:
    """3, and so no stopped run is tried again; a record goes only when it is asked for."""
    moved = {run.run_id: run for run in made.moved}
    for run_id, run in before.runs.items():
        if run.status not in (S.PENDING, S.RUNNING):
            if run.status is S.MERGED and run_id in moved:
                assert moved[run_id].status is moved[before.taker(run_id)].status is S.DELETED
                continue
            assert run_id not in moved
            left = after.runs.get(run_id)
            assert made.removes_run == run_id or (left and left._replace(merged_into=run.merged_into)) == run
    for run_id, grave in before.graves.items():
        assert after.graves[run_id] == grave
    assert not set(after.runs) & set(after.graves)
    for run in moved.values():
        assert (run.end_time == now) if run.status not in (S.PENDING, S.RUNNING) else run.end_time is None


def only_a_lease_writes(before: World, request: commands.Command, made: Decision, now: int) -> None:
    """5: the current attempt of the running run, as long as its lease lasts; and of one that was stopped and is
    awaited, nothing but whether it still is."""
    if not isinstance(request, commands.LeaseCommand):
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
    stopping = thread.stopping
    assert stopping is not None
    assert (stopping.run_id, stopping.epoch) == (request.run_id, request.epoch)
    assert not (request.by_worker and stopping.worker_id is None)
    assert (made.moved, made.steps, made.events, made.cut_to, made.removes_run) == ([], [], [], None, None)
    assert made.thread == thread._replace(stopping=made.thread.stopping)
    assert (made.refusal is not None) == isinstance(request, (commands.SucceedRun, commands.FailRun))


def a_lease_is_of_one_attempt(
    before: World, request: commands.Command, started: list[Run], now: int, after: World
) -> None:
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
                assert isinstance(request, commands.Recover)
            else:
                assert isinstance(request, commands.Tick)
                assert old.lease_expires <= now
        elif old.status is S.RUNNING and run.status is S.PENDING:
            assert released


def a_stopped_attempt_is_awaited(before: World, request: commands.Command, made: Decision, now: int) -> None:
    """From the stop on until it acknowledges, or its lease or its grace is over, which the Decision then tells; a
    heartbeat makes it longer, within the grace."""
    assert made.thread is not None
    old, new = before.thread.stopping if before.thread else None, made.thread.stopping
    given_up = new is None and isinstance(request, (commands.Tick, commands.ClaimRun))
    assert made.overdue == (old if given_up else None)
    if new is None or new == old:
        return
    assert new.until <= new.grace_until
    if old is not None:
        assert isinstance(request, commands.Heartbeat)
        assert now < old.until
        assert new == replace(old, until=min(old.grace_until, now + request.lease))
        return
    (stopped,) = (run for run in made.moved if (was := before.running) is not None and run.run_id == was.run_id)
    assert stopped.status in (S.INTERRUPTED, S.DELETED, S.TIMEOUT)
    lease_expires = before.runs[stopped.run_id].lease_expires
    grace_until = now + stopped.assistant.stop_grace
    until = grace_until if lease_expires is None else min(grace_until, lease_expires)
    assert new == StoppingAttempt(stopped.run_id, stopped.epoch, until, grace_until, stopped.worker_id)


def steps_are_whole(before: World, made: Decision, thread: Thread, after: World) -> None:
    """6: numbered without gaps; only those of a run that is rolled back are ever cut off."""
    last = before.thread.last_step if before.thread else 0
    if made.cut_to is not None:
        rolled_back = {run.run_id for run in made.moved if run.status is S.DELETED}
        assert made.cut_to <= last
        assert set(before.steps[made.cut_to :]) <= rolled_back
        last = made.cut_to
    assert [step.step for step in made.steps] == list(range(last + 1, last + 1 + len(made.steps)))
    assert thread.last_step == len(after.steps)


def supersession_is_atomic(before: World, request: commands.Command, made: Decision) -> None:
    """7: what is superseded or merged is so by the run admitted in the same Decision, as its strategy and its queue
    policy say; and its answer lists them."""
    ended = {run.run_id: run for run in made.moved if run.reason is R.SUPERSEDED and run.merged_into is None}
    for run in made.moved:  # what it had taken goes where it goes
        taker = ended.get(before.taker(run.run_id))
        assert run.superseded_by == (taker and taker.superseded_by)
    assert sorted(ended.values(), key=lambda run: run.sequence) == made.superseded
    admitted = made.admitted
    if admitted is None:
        assert not ended
        assert {run.run_id for run in made.moved if run.status is S.MERGED} == set(made.absorbed if made.writes else ())
        return
    how = {Strategy.INTERRUPT: S.INTERRUPTED, Strategy.ROLLBACK: S.DELETED}.get(admitted.strategy)
    waiting = {run.run_id: run for run in before.in_flight if run.base_step is None}
    started = {run.run_id for run in before.in_flight} - set(waiting)
    ends = (started if how else set()) | (set(waiting) if admitted.queue_policy is QueuePolicy.SUPERSEDE else set())
    assert set(ended) == ends
    merged = {run.run_id for run in made.moved if run.status is S.MERGED}
    assert merged == {
        name
        for name, run in waiting.items()
        if admitted.queue_policy is QueuePolicy.MERGE
        and run.assistant.assistant_id == admitted.assistant.assistant_id
        and (run.debounced or run.due_time <= admitted.create_time)
    }
    taken = sorted(
        [each for name in merged for each in (before.runs[name], *before.taken(name))], key=lambda run: run.sequence
    )
    assert made.merged == tuple(run.run_id for run in taken)
    assert admitted.merges == len(taken)
    for run in ended.values():
        assert run.status is (how or S.INTERRUPTED)
        assert run.superseded_by == admitted.run_id
        assert run.sequence < admitted.sequence


def events_tell_all(before: World, request: commands.Command, made: Decision, thread: Thread, now: int) -> None:
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
    updates = made.events or isinstance(request, (commands.CreateThread, commands.UpdateThread, commands.DeleteRun))
    assert earlier is None or thread.update_time == (now if updates else earlier.update_time)
