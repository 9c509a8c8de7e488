"""The invariants of the architecture, as one question asked of each Decision that is applied to a World."""

from collections import Counter

from statemachine import requests as ask
from statemachine.draft import Decision
from statemachine.model import RunChanged, StepCommitted
from tests.unit.world import R, S, World


def judge(before: World, request: ask.Request, made: Decision, now: int, after: World) -> None:
    """Hold one applied Decision against the invariants. Numbers are those of architecture.md."""
    if made.deletes_thread:
        assert made.thread is None
        assert {run.run_id for run in made.moved} == {run.run_id for run in before.in_flight()}
        return
    if not made.writes:
        assert after == before
        assert (made.moved, made.steps, made.events, made.admitted) == ([], [], [], None)
        return
    thread, earlier = made.thread, before.thread
    assert thread is not None
    moved = {run.run_id: run for run in made.moved}
    running = [run for run in after.runs.values() if run.status is S.RUNNING]

    # 1. One runs at a time, and none starts before the old attempt has acknowledged or its grace is over.
    assert len(running) <= 1
    started = [run for run in running if (old := before.runs.get(run.run_id)) is None or old.status is not S.RUNNING]
    if started and earlier and earlier.drain:
        assert now >= earlier.drain.until
    assert not (thread.drain and running), "a run is running beside a stopped attempt"

    # 3. Terminal is final, and a record goes only when it is asked for.
    for run_id, run in before.runs.items():
        if run.status not in (S.PENDING, S.RUNNING):
            assert run_id not in moved
            assert after.runs.get(run_id) == run or made.removes_run == run_id
    for run_id, grave in before.graves.items():
        assert after.graves[run_id] == grave
    assert not set(after.runs) & set(after.graves)
    for run in moved.values():
        assert (run.end_time == now) if run.status not in (S.PENDING, S.RUNNING) else run.end_time is None

    # 4. Runs start in order of `sequence` among those that are due, one that was handed back before all.
    for run in started:
        waiting = [each for each in before.in_flight() if each.due_time <= now or each.base_step is not None]
        assert run.run_id == min(waiting, key=lambda each: (each.base_step is None, each.sequence)).run_id
        assert run.due_time <= now

    # 5. Only the current attempt of the running run writes.
    if isinstance(request, ask.LeaseRequest) and not isinstance(request, ask.AcknowledgeStop):
        holder = before.running()
        assert holder is not None
        assert (holder.run_id, holder.epoch) == (request.run_id, request.epoch)

    # 6. Steps are numbered without gaps; a run's are contiguous; rolled back none are left, otherwise all of them.
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
    assert set(gone) <= {run.run_id for run in moved.values() if run.status is S.DELETED}

    # 7. What is superseded is so by the run admitted with it; the chains end at one that is not.
    for run in moved.values():
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

    # 8. Each event has the next number, and the events tell all that happened.
    first = (earlier.last_event if earlier else 0) + 1
    assert [event.sequence for event in made.events] == list(range(first, first + len(made.events)))
    assert thread.last_event == first - 1 + len(made.events)
    told = [(e.run_id, e.kind.before, e.kind.after) for e in made.events if isinstance(e.kind, RunChanged)]
    statuses = {run_id: run.status for run_id, run in before.runs.items()}
    expected = [(run_id, statuses[run_id], run.status) for run_id, run in moved.items()]
    expected = [change for change in expected if change[1] is not change[2]]
    if made.admitted is not None:
        expected.insert(0, (made.admitted.run_id, None, S.PENDING))
        assert made.admitted.sequence == thread.last_sequence == (earlier.last_sequence if earlier else 0) + 1
    assert sorted(told, key=str) == sorted(expected, key=str)
    stepped = [(e.run_id, e.kind.step) for e in made.events if isinstance(e.kind, StepCommitted)]
    assert stepped == [(step.run_id, step.step) for step in made.steps]

    # What is in flight can go on: it runs, or may be claimed, or there is a moment to wait for, which is told.
    flying = after.in_flight()
    if running:
        assert made.outlook == (None, running[0].deadline)
    elif flying and thread.drain and now < thread.drain.until:
        assert made.outlook == (None, thread.drain.until)
    elif due := [run for run in flying if run.due_time <= now]:
        assert made.outlook == (min(due, key=lambda run: (run.base_step is None, run.sequence)), None)
    else:
        assert made.outlook == (None, min((run.due_time for run in flying), default=None))
