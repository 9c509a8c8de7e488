"""Stopping a run from outside, and how long the stopped attempt holds up its successor."""

from collections.abc import Callable
from typing import Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.model import StoppingAttempt
from doubletext_statemachine.words import CancelAction
from tests.unit.play import GRACE, GRAPHS, INTERRUPT, OTHER, REJECT, ROLLBACK, Play, busy_thread
from tests.unit.world import R, S, T

# Cancelling


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "deleted")]
)
def test_cancelling_the_running_run_stops_it_alone(action: CancelAction, status: str) -> None:
    play = busy_thread()
    made = play.cancel("R", action)
    assert play.statuses() == {"old": "success", "R": status, "P1": "pending", "P2": "pending"}
    (run,) = made.moved
    assert made.run == run
    assert (run.reason, run.superseded_by, made.superseded) == (R.CANCELLED, None, [])
    rolled_back = action is CancelAction.ROLLBACK
    assert made.cut_to == (2 if rolled_back else None)
    assert play.steps() == (("old", "old") if rolled_back else ("old", "old", "R", "R", "R"))
    assert play.thread.stopping == StoppingAttempt("R", 1, play.now + GRACE, play.now + GRACE)
    assert made.upcoming == (None, play.now + GRACE)


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "deleted")]
)
def test_cancelling_a_pending_run_takes_it_out_of_the_line_only(action: CancelAction, status: str) -> None:
    play = busy_thread()
    made = play.cancel("P1", action)
    assert play.statuses() == {"old": "success", "R": "running", "P1": status, "P2": "pending"}
    assert (made.cut_to, play.thread.stopping, play.run("R").status) == (None, None, S.RUNNING)
    play.succeed("R")
    play.claimed("P2")


def test_cancelling_a_run_that_was_handed_back_undoes_its_steps_only_when_asked(play: Play) -> None:
    play.start("r", steps=1)
    play.put(play.held(commands.ReleaseRun, "r"))
    assert play.cancel("r").cut_to is None
    assert (play.run("r").last_step, play.thread.stopping) == (2, None)
    play.start("s", steps=1)
    play.put(commands.Recover(T))
    assert play.cancel("s", CancelAction.ROLLBACK).cut_to == 2


@pytest.mark.parametrize("action", list(CancelAction))
@pytest.mark.parametrize("end", ["success", "error", "timeout", "interrupted", "deleted"])
def test_cancelling_a_terminal_run_returns_it_unchanged(play: Play, action: CancelAction, end: str) -> None:
    play.start("r", timeout=5)
    play.now += 5
    {
        "success": lambda: play.succeed("r"),
        "error": lambda: play.put(play.held(commands.FailRun, "r", "E", "m")),
        "timeout": lambda: play.put(commands.Tick(T)),
        "interrupted": lambda: play.cancel("r"),
        "deleted": lambda: play.cancel("r", CancelAction.ROLLBACK),
    }[end]()
    before = play.world
    assert play.statuses() == {"r": end}
    made = play.cancel("r", action)
    assert (made.run, made.writes) == (before.runs.get("r") or before.graves["r"], False)
    assert play.world == before


def test_a_run_that_never_was_cannot_be_cancelled_or_deleted(play: Play) -> None:
    for request in (commands.CancelRun(T, "r", CancelAction.INTERRUPT), commands.DeleteRun(T, "r")):
        assert play.refused(request, errors.RunNotFound) == {"run_id": "r", "thread_id": T}


# A stopped attempt holds up its successor

STOPS: Final[dict[str, Callable[[Play], object]]] = {
    "interrupt": lambda play: play.admit("next", INTERRUPT),
    "rollback": lambda play: play.admit("next", ROLLBACK),
    "cancel": lambda play: (play.admit("next"), play.cancel("r")),
    "cancel with rollback": lambda play: (play.admit("next"), play.cancel("r", CancelAction.ROLLBACK)),
    "timeout": lambda play: (play.admit("next"), play.put(commands.Tick(T))),
}


@pytest.fixture(params=list(STOPS))
def stopped(request: pytest.FixtureRequest) -> Play:
    """A thread whose run `r` was stopped under epoch 1 just now, with `next` to follow."""
    play = Play()
    play.start("r", timeout=5)
    play.now += 5
    STOPS[request.param](play)
    return play


def test_the_successor_starts_when_the_grace_is_over_and_not_an_instant_before(stopped: Play) -> None:
    over = stopped.now + GRACE
    assert stopped.thread.stopping == StoppingAttempt("r", 1, over, over)
    assert stopped.put(commands.Tick(T)).upcoming == (None, over)
    stopped.now = over - 1
    assert stopped.claim() is None
    stopped.now = over
    assert stopped.put(commands.Tick(T)).upcoming.ready == stopped.run("next")
    stopped.claimed("next")
    assert stopped.thread.stopping is None


@pytest.mark.parametrize("request_", [commands.Tick(T), commands.ClaimRun(T, GRAPHS)])
def test_an_attempt_that_is_awaited_no_longer_is_named_as_overdue_once(
    stopped: Play, request_: commands.Command
) -> None:
    assert stopped.put(request_).overdue is None
    stopping = stopped.thread.stopping
    stopped.now += GRACE
    assert stopped.put(request_).overdue == stopping
    assert stopped.claim("nothing") is None
    assert stopped.put(commands.Tick(T)).overdue is None


def test_the_successor_starts_as_soon_as_the_stop_is_acknowledged(stopped: Play) -> None:
    made = stopped.put(commands.AcknowledgeStop(T, "r", 1))
    assert made.writes
    assert made.events == []
    assert made.upcoming.ready == stopped.run("next")
    assert made.overdue is None
    stopped.now += GRACE
    stopped.claimed("next")


@pytest.mark.parametrize(("run_id", "epoch"), [("r", 0), ("r", 2), ("next", 1), ("next", 0)])
def test_an_acknowledgement_of_another_attempt_lets_nobody_start(stopped: Play, run_id: str, epoch: int) -> None:
    made = stopped.put(commands.AcknowledgeStop(T, run_id, epoch))
    assert not made.writes
    assert stopped.claim() is None


def test_an_acknowledgement_is_idempotent_and_may_come_late(stopped: Play) -> None:
    acknowledgement = commands.AcknowledgeStop(T, "r", 1)
    stopped.put(acknowledgement)
    assert not stopped.put(acknowledgement).writes
    stopped.claimed("next")
    assert not stopped.put(acknowledgement).writes
    stopped.put(commands.DeleteThread(T))
    assert not stopped.put(acknowledgement).writes


def test_whoever_comes_next_waits_for_the_stopped_attempt_too(stopped: Play) -> None:
    stopping = stopped.thread.stopping
    stopped.admit("another", INTERRUPT)
    assert stopped.statuses()["next"] == "interrupted"
    assert stopped.thread.stopping == stopping
    assert stopped.claim() is None
    stopped.now += GRACE
    stopped.claimed("another")


def test_an_assistant_without_grace_holds_up_nobody(play: Play) -> None:
    play.start("r", assistant=OTHER)
    play.admit("next", INTERRUPT)
    play.claimed("next")


def test_an_idle_thread_that_awaits_a_stopped_attempt_admits_a_rejecting_run_but_starts_it_later(play: Play) -> None:
    play.start("r")
    assert play.cancel("r").upcoming == (None, play.now + GRACE)
    made = play.admit("next", REJECT)
    assert made.upcoming == (None, play.now + GRACE)


@pytest.mark.parametrize("end", ["succeed", "fail", "release"])
def test_a_run_that_ended_by_itself_is_not_waited_for(play: Play, end: str) -> None:
    play.start("r")
    kinds = {
        "succeed": (commands.SucceedRun, ()),
        "fail": (commands.FailRun, ("E", "m")),
        "release": (commands.ReleaseRun, ()),
    }
    kind, more = kinds[end]
    play.put(play.held(kind, "r", *more))
    assert play.thread.stopping is None
