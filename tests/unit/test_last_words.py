"""A stopped attempt of a worker's: how long it is awaited, what it may still say, and that it is never tried again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.model import StoppingAttempt
from doubletext_statemachine.words import CancelAction
from tests.unit.play import GRACE, INTERRUPT, LEASE, OTHER, ROLLBACK, Play
from tests.unit.world import R, T

TIME: Final = 5

STOPS: Final[dict[str, tuple[Callable[[Play], object], str]]] = {
    "interrupt": (lambda play: play.admit("next", INTERRUPT), "SUPERSEDED"),
    "rollback": (lambda play: play.admit("next", ROLLBACK), "SUPERSEDED"),
    "cancel": (lambda play: (play.admit("next"), play.cancel("r")), "CANCELLED"),
    "cancel with rollback": (
        lambda play: (play.admit("next"), play.cancel("r", CancelAction.ROLLBACK)),
        "CANCELLED",
    ),
    "timeout": (lambda play: (play.admit("next"), play.put(commands.Tick(T))), "TIMEOUT"),
}


def stop(how: str, lease: int = LEASE) -> Play:
    """A thread whose run `r`, of a worker's with `lease` left, was stopped just now, with `next` to follow."""
    play = Play()
    play.remote("r", steps=1, timeout=TIME, lease=lease + TIME)
    play.now += TIME
    STOPS[how][0](play)
    return play


@pytest.fixture(params=list(STOPS))
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stopped(how: str) -> Play:
    return stop(how)


# How long it is awaited


@pytest.mark.parametrize(
    ("lease", "wait"), [(1, 1), (LEASE, LEASE), (GRACE - 1, GRACE - 1), (GRACE, GRACE), (GRACE + 1, GRACE)]
)
def test_a_silent_worker_holds_up_the_next_run_to_the_end_of_its_lease_or_its_grace(
    how: str, lease: int, wait: int
) -> None:
    play = stop(how, lease)
    until = play.now + wait
    assert play.thread.stopping == StoppingAttempt("r", 1, until, play.now + GRACE, "w")
    assert play.put(commands.Tick(T)).upcoming == (None, until)
    play.now = until - 1
    assert play.claim() is None
    assert not play.put(commands.Tick(T)).writes
    play.now = until
    made = play.put(commands.Tick(T))
    assert made.upcoming == (play.run("next"), None)
    assert play.thread.stopping is None
    play.take("next")


def test_the_next_run_starts_at_that_instant_though_no_timer_has_fired(stopped: Play) -> None:
    stopped.now += LEASE
    stopped.take("next")
    assert stopped.thread.stopping is None


def test_the_wait_ends_by_time_also_when_nobody_waits_behind_it(play: Play) -> None:
    play.remote("r")
    assert play.cancel("r").upcoming == (None, play.now + LEASE)
    play.now += LEASE
    made = play.put(commands.Tick(T))
    assert (made.writes, made.events, made.upcoming, play.thread.stopping) == (True, [], (None, None), None)
    assert not play.put(commands.Tick(T)).writes


@pytest.mark.parametrize("waiting", ["nobody", "one that is due", "one that is delayed"])
@pytest.mark.parametrize("over", ["the lease was over", "there is no grace"])
def test_a_wait_that_is_over_when_it_begins_is_ended_at_once(play: Play, over: str, waiting: str) -> None:
    play.remote("r", assistant=OTHER if over == "there is no grace" else replace(OTHER, stop_grace=GRACE))
    if waiting != "nobody":
        play.admit("p", delay=100 if waiting == "one that is delayed" else 0)
    play.now += LEASE if over == "the lease was over" else 0
    made = play.cancel("r")
    assert made.upcoming.wake is not None
    assert made.upcoming.wake <= play.now
    assert (made.upcoming.ready is not None) == (waiting == "one that is due")
    play.put(commands.Tick(T))
    assert play.thread.stopping is None


def test_a_worker_is_awaited_when_the_servers_process_dies_and_the_server_itself_is_not(stopped: Play) -> None:
    stopping = stopped.thread.stopping
    assert stopping
    made = stopped.put(commands.Recover(T))
    assert (made.writes, stopped.thread.stopping, made.upcoming) == (False, stopping, (None, stopping.until))
    own = Play()
    own.start("r")
    own.cancel("r")
    assert own.put(commands.Recover(T)).writes
    assert own.thread.stopping is None


# Heartbeats


def test_a_heartbeat_makes_the_wait_longer_up_to_the_grace_and_tells_of_the_stop(stopped: Play) -> None:
    stop_time, named = stopped.now, stopped.world.runs.get("r") or stopped.world.graves["r"]
    for passed, until in ((15, 15 + LEASE), (30, 30 + LEASE), (31, GRACE), (GRACE - 1, GRACE)):
        stopped.now = stop_time + passed
        thread = stopped.thread
        made = stopped.beat("r")
        stopping = StoppingAttempt("r", 1, stop_time + until, stop_time + GRACE, "w")
        assert made.thread == stopped.thread == thread._replace(stopping=stopping)
        assert (made.run, made.moved, made.events) == (named, [], [])
        assert made.upcoming == (None, stop_time + until)


@pytest.mark.parametrize("beats", [False, True])
def test_a_heartbeat_comes_too_late_at_the_instant_that_the_wait_is_over(how: str, beats: bool) -> None:
    play = stop(how)
    if beats:
        play.beat("r", 10 * GRACE)
    stopping = play.thread.stopping
    assert stopping
    assert stopping.until == play.now + (GRACE if beats else LEASE)
    play.now = stopping.until
    assert play.refused(play.wire(commands.Heartbeat, "r", LEASE), errors.LeaseLost)["cause"] == STOPS[how][1]
    play.now -= 1
    play.beat("r")


def test_a_heartbeat_of_another_attempt_makes_nothing_longer(stopped: Play) -> None:
    for epoch in (0, 2):
        stopped.refused(stopped.wire(commands.Heartbeat, "r", LEASE, epoch=epoch), errors.LeaseLost)
    stopped.refused(stopped.wire(commands.Heartbeat, "next", LEASE, epoch=1), errors.LeaseLost)


# The acknowledgement

LAST_WORDS: Final[dict[str, tuple[type[commands.LeaseCommand], tuple[Any, ...]]]] = {
    "SucceedRun": (commands.SucceedRun, (None, "digest")),
    "SucceedRun with a step": (commands.SucceedRun, ('{"a":1}', "digest")),
    "FailRun": (commands.FailRun, ("E", "m", "digest")),
    "ReleaseRun": (commands.ReleaseRun, ()),
    "AcknowledgeStop": (commands.AcknowledgeStop, ()),
}


@pytest.mark.parametrize("word", list(LAST_WORDS))
@pytest.mark.parametrize("passed", [0, LEASE - 1, LEASE, 10 * GRACE])
def test_the_next_run_starts_as_soon_as_the_worker_has_acknowledged(how: str, word: str, passed: int) -> None:
    """Also past its time, as long as the wait was not ended."""
    play = stop(how)
    stopped, thread, steps = play.world.runs.get("r"), play.thread, play.steps()
    kind, more = LAST_WORDS[word]
    play.now += passed
    made = play.put(play.wire(kind, "r", *more))
    assert made.writes
    assert made.thread == play.thread == thread._replace(stopping=None)
    assert (play.world.runs.get("r"), play.steps()) == (stopped, steps)
    assert made.upcoming == (play.run("next"), None)
    if kind in (commands.SucceedRun, commands.FailRun):
        assert isinstance(made.refusal, errors.LeaseLost)
        current = "0" if stopped is None else "1"
        assert made.refusal.facts == {
            **{"run_id": "r", "epoch": "1", "current_epoch": current},
            "cause": STOPS[how][1],
        }
    else:
        assert made.refusal is None
    play.take("next")


@pytest.mark.parametrize("word", list(LAST_WORDS))
def test_the_last_word_is_spoken_once(stopped: Play, word: str) -> None:
    kind, more = LAST_WORDS[word]
    epoch = 1
    stopped.put(stopped.wire(kind, "r", *more))
    again = kind(T, "r", epoch, *more, by_worker=True)
    if kind is commands.AcknowledgeStop:
        assert not stopped.put(again).writes
    else:
        stopped.refused(again, errors.LeaseLost)
    stopped.refused(commands.Heartbeat(T, "r", epoch, LEASE, by_worker=True), errors.LeaseLost)


@pytest.mark.parametrize("word", list(LAST_WORDS))
@pytest.mark.parametrize(("run_id", "epoch"), [("r", 0), ("r", 2), ("next", 1), ("next", 0)])
def test_the_last_word_of_another_attempt_lets_nobody_start(stopped: Play, word: str, run_id: str, epoch: int) -> None:
    kind, more = LAST_WORDS[word]
    request = kind(T, run_id, epoch, *more, by_worker=True)
    if kind is commands.AcknowledgeStop:
        assert not stopped.put(request).writes
    else:
        stopped.refused(request, errors.LeaseLost)
    assert stopped.claim() is None


@pytest.mark.parametrize("word", list(LAST_WORDS))
def test_an_attempt_whose_record_was_deleted_is_awaited_all_the_same(play: Play, word: str) -> None:
    play.remote("r")
    play.admit("next", INTERRUPT)
    play.put(commands.DeleteRun(T, "r"))
    assert play.beat("r").run is None
    kind, more = LAST_WORDS[word]
    made = play.put(play.wire(kind, "r", *more))
    assert (play.thread.stopping, made.upcoming.ready) == (None, play.run("next"))
    if made.refusal is not None:
        assert (made.refusal.facts["cause"], made.refusal.facts["current_epoch"]) == ("DELETED", "0")


# Never again

DEEDS: Final[dict[str, Callable[[Play], object]]] = {
    "dies": lambda play: play.put(commands.Tick(T)),
    "goes on": lambda play: play.refused(commands.CommitStep(T, "r", 1, "{}", by_worker=True), errors.LeaseLost),
    "succeeds": lambda play: play.put(play.wire(commands.SucceedRun, "r", None, "digest")),
    "fails": lambda play: play.put(play.wire(commands.FailRun, "r", "E", "m", "digest")),
    "hands it back": lambda play: play.put(play.wire(commands.ReleaseRun, "r")),
    "beats on": lambda play: play.beat("r"),
    "dies with the server": lambda play: play.put(commands.Recover(T)),
}


@pytest.mark.parametrize("deed", list(DEEDS))
def test_a_stopped_run_is_never_tried_again_whatever_its_worker_does(how: str, deed: str) -> None:
    play = stop(how)
    ended = play.world.runs.get("r") or play.world.graves["r"]
    DEEDS[deed](play)
    play.now += GRACE
    play.put(commands.Recover(T))
    play.put(commands.Tick(T))
    play.take("next")
    play.put(play.wire(commands.SucceedRun, "next"))
    play.now += 10 * GRACE
    assert play.put(commands.Tick(T)).upcoming == (None, None)
    assert play.claim() is None
    assert (play.world.runs.get("r") or play.world.graves["r"]) == ended
    assert ended.reason is R(STOPS[how][1])
