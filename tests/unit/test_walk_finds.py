"""The walk sees each invariant break: with a mistake planted in the rules it ends at the fewest calls that show it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

import pytest

from doubletext_statemachine import arbiter, commands, lifecycle, queue
from doubletext_statemachine.arbiter import admission, execution, stopping, time
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.lifecycle import Move
from doubletext_statemachine.model import Output, Run, ThreadView
from doubletext_statemachine.words import STATUS_AFTER, Reason, RunStatus, ThreadStatus, Trigger
from tests.unit.counterexample import Found
from tests.unit.possible_commands import Bounds
from tests.unit.walk import Walk

Patch: TypeAlias = pytest.MonkeyPatch
BOUNDS: Final = Bounds(3, workers=True, ever=3)


class Planted(NamedTuple):
    """A mistake, which rule it breaks, and the fewest calls that do."""

    plant: Callable[[Patch], None]
    rule: str
    calls: int


def claims_see(patch: Patch, change: Callable[[ThreadView], ThreadView]) -> None:
    """Who claims, and the guard of a claim, take the thread for another one."""
    for module in (execution, lifecycle):
        patch.setattr(module, "upcoming", lambda view, now: queue.upcoming(change(view), now))


def a_stopped_attempt_is_not_awaited(patch: Patch) -> None:
    claims_see(patch, lambda view: replace(view, thread=view.thread and view.thread._replace(stopping=None)))


def a_running_run_is_overlooked(patch: Patch) -> None:
    claims_see(
        patch, lambda view: replace(view, runs=tuple(run for run in view.runs if run.status is RunStatus.PENDING))
    )


def the_newest_goes_first(patch: Patch) -> None:
    claims_see(patch, lambda view: replace(view, runs=view.runs[-1:]))


def who_is_handed_back_loses_its_place(patch: Patch) -> None:
    patch.setattr(queue, "_order", lambda now: lambda run: (max(run.due_time - now, 0), run.sequence))


def an_acknowledgement_ends_the_run_again(patch: Patch) -> None:
    def acknowledge(draft: Draft, command: commands.AcknowledgeStop) -> None:
        if isinstance(named := draft.view.named, Run) and draft.stopping is not None:
            draft.decision.moved.append(named._replace(error_type="Acknowledged"))
        original(draft, command)

    original = arbiter._DECIDE[commands.AcknowledgeStop]
    patch.setitem(arbiter._DECIDE, commands.AcknowledgeStop, acknowledge)


def what_is_over_can_be_cancelled(patch: Patch) -> None:
    patch.setattr(stopping, "IN_FLIGHT", frozenset(RunStatus))


def an_older_attempt_writes(patch: Patch) -> None:
    patch.setattr(execution, "why_not_held", lambda move: _forgiven(move, "CLAIMED_AGAIN"))


def an_expired_lease_writes(patch: Patch) -> None:
    patch.setattr(execution, "why_not_held", lambda move: _forgiven(move, "EXPIRED"))


def _forgiven(move: Move, cause: str) -> str | None:
    return None if (why := lifecycle.why_not_held(move)) == cause else why


def a_worker_writes_for_the_server(patch: Patch) -> None:
    held = execution._held
    patch.setattr(execution, "_held", lambda draft, command: held(draft, replace(command, by_worker=False)))


def when_stopped(patch: Patch, trigger: Trigger, then: Callable[[Draft, Run], None]) -> None:
    def stop(draft: Draft, how: Trigger, run: Run, *more: Any) -> Run:
        stopped = original(draft, how, run, *more)
        if how is trigger and run.base_step is not None:
            then(draft, run)
        return stopped

    original = Draft.stop
    patch.setattr(Draft, "stop", stop)


def a_rollback_cuts_nothing_off(patch: Patch) -> None:
    def keep(draft: Draft, run: Run) -> None:
        draft.decision.cut_to, draft.last_step = None, run.last_step

    when_stopped(patch, Trigger.ROLL_BACK, keep)


def a_rollback_leaves_the_input(patch: Patch) -> None:
    def cut_less(draft: Draft, run: Run) -> None:
        assert run.base_step is not None
        draft.decision.cut_to = draft.last_step = run.base_step + 1

    when_stopped(patch, Trigger.ROLL_BACK, cut_less)


def an_interruption_cuts_steps_off(patch: Patch) -> None:
    def cut(draft: Draft, run: Run) -> None:
        draft.decision.cut_to = draft.last_step = run.base_step or 0

    when_stopped(patch, Trigger.INTERRUPT, cut)


def who_runs_is_not_superseded(patch: Patch) -> None:
    patch.setattr(admission, "started_run", lambda runs: None)


def a_superseded_run_names_itself(patch: Patch) -> None:
    def stop(draft: Draft, how: Trigger, run: Run, reason: Reason, successor: str | None = None) -> Run:
        return original(draft, how, run, reason, successor and run.run_id)

    original = Draft.stop
    patch.setattr(Draft, "stop", stop)


def an_output_takes_no_number(patch: Patch) -> None:
    def event(draft: Draft, run_id: str | None, kind: Any) -> None:
        original(draft, run_id, kind)
        draft.last_event -= isinstance(kind, Output)

    original = Draft.event
    patch.setattr(Draft, "event", event)


def a_stop_within_an_admission_is_not_told(patch: Patch) -> None:
    def stop(draft: Draft, trigger: Trigger, run: Run, reason: Reason, successor: str | None = None) -> Run:
        stopped = original(draft, trigger, run, reason, successor)
        if reason is Reason.SUPERSEDED:
            draft.decision.events.pop()
            draft.last_event -= 1
        return stopped

    original = Draft.stop
    patch.setattr(Draft, "stop", stop)


def a_thread_is_idle_after_a_timeout(patch: Patch) -> None:
    patch.setitem(STATUS_AFTER, RunStatus.TIMEOUT, ThreadStatus.IDLE)


def a_queue_is_full_one_run_too_early(patch: Patch) -> None:
    patch.setattr(admission, "waiting_inputs", lambda runs: queue.waiting_inputs(runs) + 1)


def a_heartbeat_outlasts_the_grace(patch: Patch) -> None:
    patch.setattr(execution, "min", lambda grace_until, lease_expires: lease_expires, raising=False)


def the_timer_forgets_leases(patch: Patch) -> None:
    patch.setattr(time, "lease_is_over", lambda move: False)


# fmt: off
PLANTED: Final = {
    "1: two attempts":            Planted(a_stopped_attempt_is_not_awaited,       "one_at_a_time_and_in_order", 4),
    "1: two runs":                Planted(a_running_run_is_overlooked,            "one_at_a_time_and_in_order", 4),
    "1: awaited for ever":        Planted(a_heartbeat_outlasts_the_grace,         "a_stopped_attempt_is_awaited", 4),
    "3: changed":                 Planted(an_acknowledgement_ends_the_run_again,  "terminal_is_final",          4),
    "3: ended twice":             Planted(what_is_over_can_be_cancelled,          "decide",                     3),
    "4: by sequence":             Planted(the_newest_goes_first,                  "one_at_a_time_and_in_order", 3),
    "4: started first":           Planted(who_is_handed_back_loses_its_place,     "time_is_told",               4),
    "5: epoch":                   Planted(an_older_attempt_writes,                "only_a_lease_writes",        3),
    "5: lease":                   Planted(an_expired_lease_writes,                "only_a_lease_writes",        3),
    "5: foreign":                 Planted(a_worker_writes_for_the_server,         "only_a_lease_writes",        3),
    "6: nothing cut":             Planted(a_rollback_cuts_nothing_off,            "each_has_its_steps",         3),
    "6: input left":              Planted(a_rollback_leaves_the_input,            "each_has_its_steps",         3),
    "6: too much cut":            Planted(an_interruption_cuts_steps_off,         "steps_are_whole",            3),
    "7: not atomic":              Planted(who_runs_is_not_superseded,             "supersession_is_atomic",     3),
    "7: no successor":                 Planted(a_superseded_run_names_itself,          "supersession_is_atomic",     2),
    "8: number given twice":      Planted(an_output_takes_no_number,              "events_tell_all",            3),
    "8: not told":                Planted(a_stop_within_an_admission_is_not_told, "events_tell_all",            2),
    "10: status":                 Planted(a_thread_is_idle_after_a_timeout,       "the_status_is_derived",      3),
    "refused without a cause":    Planted(a_queue_is_full_one_run_too_early,      "refused_rightly",            2),
    "left undone":                Planted(the_timer_forgets_leases,               "_ticked",                    3),
}
# fmt: on


def found(planted: Planted, patch: Patch) -> Found:
    planted.plant(patch)
    with pytest.raises(Found) as met:
        Walk(BOUNDS).go()
    return met.value


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_mistake_is_found_with_the_fewest_calls(name: str, monkeypatch: Patch) -> None:
    planted = PLANTED[name]
    counterexample = found(planted, monkeypatch)
    assert (counterexample.rule, len(counterexample.calls)) == (planted.rule, planted.calls), str(counterexample)


def test_a_counterexample_is_told_so_that_it_can_be_followed(monkeypatch: Patch) -> None:
    told = str(found(PLANTED["5: lease"], monkeypatch)).splitlines()
    assert told[:5] == [
        "3 calls break an invariant:",
        "  at 0  client: CreateRun r1 enqueue of patient, request_id q1  →  r1 pending",
        "  at 0  worker: ClaimRun of g/h with a lease of 1  →  r1 running, step 1 of r1",
        "  at 1  worker: CommitStep r1 epoch 1 {}  →  step 2 of r1",
        "broken at 1: only_a_lease_writes: 5: the current attempt of the running run, as long as its lease lasts; and "
        "of one that was stopped and is awaited, nothing but whether it still is.",
    ]
    assert told[-3:] == [
        "the thread then:",
        "  steps of: r1 r1",
        "  r1 running, due 0, epoch 1, attempt 1 of 2, steps 1 to 2, lease 1",
    ]


def test_an_error_of_the_arbiter_is_told_as_one(monkeypatch: Patch) -> None:
    told = str(found(PLANTED["3: ended twice"], monkeypatch))
    assert "client: CancelRun r1 interrupt  →  IllegalMove('interrupt while interrupted')" in told
    assert "broken at 0: decide: raises IllegalMove, which is no Refusal" in told
