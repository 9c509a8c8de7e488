"""A thread: created, updated, deleted; its state changed by hand, and the records on it taken away."""

from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.model import DEFAULT_REDUCERS, StepCommitted, Thread, ThreadView
from doubletext_statemachine.words import CancelAction
from tests.unit.play import COUNTERS, REJECT, ROLLBACK, START, Play, admission
from tests.unit.world import R, S, T


def test_a_created_thread_is_as_the_request_says() -> None:
    made = Play(metadata='{"a":1}', default_strategy=REJECT, max_queued_runs=3)
    assert made.thread == Thread(T, START, START, '{"a":1}', REJECT, 3)


def test_a_thread_is_not_created_twice(play: Play) -> None:
    assert play.refused(commands.CreateThread(T), errors.ThreadExists) == {"thread_id": T}


@pytest.mark.parametrize(
    "changes",
    [{"metadata": '{"b":2}'}, {"default_strategy": ROLLBACK}, {"default_strategy": None}, {"max_queued_runs": 7}],
)
def test_updating_a_thread_sets_what_is_named_and_nothing_else(changes: dict[str, Any]) -> None:
    play = Play(metadata='{"a":1}', default_strategy=REJECT, max_queued_runs=3)
    play.start("r")
    before, play.now = play.thread, play.now + 1
    made = play.put(commands.UpdateThread(T, changes))
    assert made.thread == before._replace(update_time=play.now, **changes)
    assert made.events == []


THREAD_REQUESTS: Final = {
    "UpdateThread": commands.UpdateThread(T, {"metadata": "{}"}),
    "DeleteThread": commands.DeleteThread(T),
    "UpdateState": commands.UpdateState(T, "{}", DEFAULT_REDUCERS),
    "AdmitRun": admission("r"),
}


@pytest.mark.parametrize("name", list(THREAD_REQUESTS))
def test_a_thread_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(errors.ThreadNotFound) as refused:
        decide(ThreadView(None), THREAD_REQUESTS[name], START)
    assert refused.value.facts == {"thread_id": T}


def test_deleting_a_thread_stops_and_fences_its_runs(play: Play) -> None:
    play.start("r")
    play.admit("p")
    made = play.put(commands.DeleteThread(T))
    assert [(run.run_id, run.status, run.reason) for run in made.moved] == [
        ("r", S.DELETED, R.THREAD_DELETED),
        ("p", S.DELETED, R.THREAD_DELETED),
    ]
    assert made.deletes_thread
    assert made.thread is None
    assert made.upcoming == (None, None)
    facts = play.refused(commands.CommitStep(T, "r", 1, "{}"), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": "0", "cause": "DELETED"}


@pytest.mark.parametrize(("idle_for", "expires"), [(-1, False), (0, True), (1, True)])
def test_a_thread_expires_when_nothing_has_happened_on_it_since_a_time(
    play: Play, idle_for: int, expires: bool
) -> None:
    play.start("r")
    play.succeed("r")
    made = play.put(commands.ExpireThread(T, play.thread.update_time + idle_for))
    assert (made.deletes_thread, made.writes, made.moved) == (expires, expires, [])


@pytest.mark.parametrize("busy", ["pending", "running", "awaited"])
def test_a_thread_on_which_something_is_about_to_happen_does_not_expire(play: Play, busy: str) -> None:
    play.admit("r")
    if busy != "pending":
        play.take("r")
    if busy == "awaited":
        play.cancel("r")
    play.now += 1_000_000
    assert not play.put(commands.ExpireThread(T, play.now)).writes
    if busy == "awaited":
        play.put(commands.Tick(T))
        assert play.put(commands.ExpireThread(T, play.now)).deletes_thread


def test_an_update_of_the_state_is_one_step_of_nobodys_with_the_given_reducers(play: Play) -> None:
    made = play.put(commands.UpdateState(T, '{"count":1}', COUNTERS))
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (1, None, '{"count":1}', COUNTERS)
    assert [event.kind for event in made.events] == [StepCommitted(1)]


@pytest.mark.parametrize("busy", ["running", "pending", "delayed", "handed back"])
def test_the_state_is_not_updated_while_a_run_is_in_flight(play: Play, busy: str) -> None:
    play.admit("r", delay=10 if busy == "delayed" else 0)
    if busy in ("running", "handed back"):
        play.claimed("r")
    if busy == "handed back":
        play.put(play.held(commands.ReleaseRun, "r"))
    facts = play.refused(commands.UpdateState(T, "{}", DEFAULT_REDUCERS), errors.ThreadInFlight)
    assert facts["active_run_id"] == "r"
    assert facts["active_run_status"] == ("running" if busy == "running" else "pending")


def test_the_state_may_be_updated_while_a_stopped_attempt_is_awaited(play: Play) -> None:
    play.start("r")
    play.cancel("r")
    assert play.put(commands.UpdateState(T, "{}", DEFAULT_REDUCERS)).steps[0].step == 2


# Deleting the record of a run


def test_deleting_a_run_takes_its_record_and_leaves_the_steps(play: Play) -> None:
    play.start("r", steps=1)
    play.succeed("r")
    play.now += 1
    made = play.put(commands.DeleteRun(T, "r"))
    assert (made.removes_run, made.cut_to, made.events) == ("r", None, [])
    assert play.thread.update_time == play.now
    assert (play.statuses(), play.world.steps) == ({}, ("r", "r"))


def test_a_run_in_flight_is_not_deleted(play: Play) -> None:
    play.admit("r")
    assert play.refused(commands.DeleteRun(T, "r"), errors.RunInFlight) == {"run_id": "r", "status": "pending"}
    play.claimed("r")
    assert play.refused(commands.DeleteRun(T, "r"), errors.RunInFlight) == {"run_id": "r", "status": "running"}


def test_a_run_that_was_rolled_back_has_no_record_to_delete(play: Play) -> None:
    play.start("r")
    play.cancel("r", CancelAction.ROLLBACK)
    assert play.refused(commands.DeleteRun(T, "r"), errors.RunNotFound)["run_id"] == "r"
