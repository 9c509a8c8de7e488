"""What an attempt writes and how it ends; and that one which holds no lease any more changes nothing."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from statemachine import errors
from statemachine import requests as ask
from statemachine.model import Output, RunChanged, StepCommitted
from statemachine.status import CancelAction
from tests.unit.play import COUNTERS, INTERRUPT, OTHER, ROLLBACK, Play
from tests.unit.world import R, S, T


def test_a_step_of_the_running_run_is_the_threads_next(play: Play) -> None:
    play.start("r", assistant=OTHER)
    made = play.put(play.held(ask.CommitStep, "r", '{"count":1}'))
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (2, "r", '{"count":1}', COUNTERS)
    assert made.run == made.moved[0] == play.run("r")
    assert (play.run("r").last_step, play.run("r").status) == (2, S.RUNNING)
    assert [event.kind for event in made.events] == [StepCommitted(2)]


def test_an_output_is_an_event_and_changes_nothing_else(play: Play) -> None:
    before = play.start("r")
    made = play.put(play.held(ask.PublishOutput, "r", "tokens", '{"t":1}'))
    assert [(event.run_id, event.kind) for event in made.events] == [("r", Output("tokens", '{"t":1}'))]
    assert (made.steps, made.moved, play.run("r")) == ([], [], before)


def test_a_success_frees_the_thread_for_the_next_run_at_once(play: Play) -> None:
    play.start("r")
    play.admit("p")
    made = play.succeed("r")
    assert (play.run("r").status, play.run("r").end_time, play.run("r").reason) == (S.SUCCESS, play.now, None)
    assert play.thread.drain is None
    assert made.outlook.ready == play.run("p")


def test_a_success_may_bring_a_last_step(play: Play) -> None:
    play.start("r")
    made = play.put(play.held(ask.SucceedRun, "r", '{"a":1}'))
    assert [(step.step, step.update) for step in made.steps] == [(2, '{"a":1}')]
    assert [event.kind for event in made.events] == [StepCommitted(2), RunChanged(S.RUNNING, S.SUCCESS)]
    assert (play.run("r").last_step, play.run("r").left_state_at) == (2, 2)


def test_a_failure_keeps_the_steps_and_says_what_failed(play: Play) -> None:
    play.start("r", steps=1)
    made = play.put(play.held(ask.FailRun, "r", "ValueError", "no"))
    run = play.run("r")
    assert (run.status, run.error_type, run.error_message, run.last_step) == (S.ERROR, "ValueError", "no", 2)
    assert play.steps() == ("r", "r")
    assert made.outlook == (None, None)


def test_a_released_run_has_not_used_up_an_attempt(play: Play) -> None:
    play.start("r", steps=1)
    for _ in range(3):
        made = play.put(play.held(ask.ReleaseRun, "r"))
        run = play.run("r")
        assert (run.status, run.attempt, run.reason, run.last_step) == (S.PENDING, 0, R.RELEASED, 2)
        assert made.outlook.ready == run
        assert play.claimed("r").attempt == 1
    assert play.run("r").epoch == 4


LEASE_REQUESTS: Final[dict[str, tuple[type[ask.LeaseRequest], tuple[Any, ...]]]] = {
    "CommitStep": (ask.CommitStep, ("{}",)),
    "PublishOutput": (ask.PublishOutput, ("c", "{}")),
    "SucceedRun": (ask.SucceedRun, ()),
    "FailRun": (ask.FailRun, ("E", "m")),
    "ReleaseRun": (ask.ReleaseRun, ()),
}
ENDS: Final[dict[str, tuple[Callable[[Play], object], str, int]]] = {
    # what happened to the run, and the cause and epoch that its attempt is told
    "succeeded": (lambda play: play.succeed("r"), "SUCCESS", 1),
    "failed": (lambda play: play.put(play.held(ask.FailRun, "r", "E", "m")), "ERROR", 1),
    "was cancelled": (lambda play: play.cancel("r"), "CANCELLED", 1),
    "was cancelled with rollback": (lambda play: play.cancel("r", CancelAction.ROLLBACK), "CANCELLED", 0),
    "was interrupted": (lambda play: play.admit("n", INTERRUPT), "SUPERSEDED", 1),
    "was rolled back": (lambda play: play.admit("n", ROLLBACK), "SUPERSEDED", 0),
    "timed out": (lambda play: play.put(ask.Tick(T)), "TIMEOUT", 1),
    "was released": (lambda play: play.put(play.held(ask.ReleaseRun, "r")), "RELEASED", 1),
    "was recovered": (lambda play: play.put(ask.Recover(T)), "LEASE_LOST", 1),
    "was claimed again": (lambda play: (play.put(ask.Recover(T)), play.claim()), "CLAIMED_AGAIN", 2),
    "was recorded no more": (lambda play: (play.succeed("r"), play.put(ask.DeleteRun(T, "r"))), "DELETED", 0),
    "lost its thread": (lambda play: play.put(ask.DeleteThread(T)), "DELETED", 0),
}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("end", list(ENDS))
def test_an_attempt_whose_run_is_over_changes_nothing_and_is_told_why(play: Play, end: str, kind: str) -> None:
    happened, cause, current = ENDS[end]
    play.start("r", timeout=5)
    play.now += 5
    happened(play)
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", 1, *more), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": str(current), "cause": cause}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_that_is_not_the_current_one_is_no_lease(play: Play, kind: str, epoch: int) -> None:
    play.start("r")
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", epoch, *more), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "1", "cause": "CLAIMED_AGAIN"}


def test_a_pending_run_is_nobodys_to_finish(play: Play) -> None:
    play.admit("r")
    assert play.refused(ask.SucceedRun(T, "r", 0), errors.LeaseLost)["cause"] == "PENDING"
