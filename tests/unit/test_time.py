"""What the passing of time does to a thread, and what the death of the process does."""

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.model import RunChanged, ThreadView
from tests.unit.play import GRACE, INTERRUPT, START, Play
from tests.unit.world import R, S, T, World


def test_a_run_times_out_at_its_deadline_and_not_an_instant_before(play: Play) -> None:
    play.start("r", steps=1, timeout=20)
    assert play.put(commands.Tick(T)).upcoming == (None, START + 20)
    play.now = START + 19
    assert not play.put(commands.Tick(T)).writes
    play.now = START + 20
    made = play.put(commands.Tick(T))
    run = play.run("r")
    assert (run.status, run.reason, run.end_time, run.last_step) == (S.TIMEOUT, R.TIMEOUT, START + 20, 2)
    assert made.upcoming == (None, START + 20 + GRACE)


def test_the_time_that_a_run_waits_does_not_count(play: Play) -> None:
    play.start("r")
    play.admit("p", timeout=20)
    play.now += 100
    play.succeed("r")
    play.claimed("p")
    assert not play.put(commands.Tick(T)).writes
    assert play.run("p").deadline == START + 120


@pytest.mark.parametrize("situation", ["no thread", "idle", "pending", "running without a timeout"])
def test_time_alone_changes_nothing_else(play: Play, situation: str) -> None:
    if situation == "no thread":
        play.world = World()
    elif situation != "idle":
        play.admit("r")
    if situation == "running without a timeout":
        play.claimed("r")
    play.now += 1_000_000
    assert not play.put(commands.Tick(T)).writes


def test_a_run_whose_process_died_is_handed_back_with_its_steps(play: Play) -> None:
    play.start("r", steps=1)
    made = play.put(commands.Recover(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.last_step, run.end_time) == (S.PENDING, R.LEASE_LOST, 1, 2, None)
    assert made.upcoming.ready == run
    assert [event.kind for event in made.events] == [RunChanged(S.RUNNING, S.PENDING, None, R.LEASE_LOST)]


def test_a_run_that_was_lost_as_often_as_allowed_is_an_error(play: Play) -> None:
    play.start("r")
    play.admit("p")
    play.put(commands.Recover(T))
    play.claimed("r")
    made = play.put(commands.Recover(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.end_time) == (S.ERROR, R.MAX_ATTEMPTS, 2, play.now)
    assert run.error_type == "MaxAttempts"
    assert "2 times" in (run.error_message or "")
    assert made.upcoming.ready == play.run("p")


def test_the_death_of_the_process_ends_the_wait_for_stopped_attempts(play: Play) -> None:
    play.start("r")
    play.admit("next", INTERRUPT)
    made = play.put(commands.Recover(T))
    assert play.thread.stopping is None
    assert made.upcoming.ready == play.run("next")
    assert not play.put(commands.Recover(T)).writes


def test_a_thread_where_nothing_ran_needs_no_recovery(play: Play) -> None:
    play.admit("r")
    made = play.put(commands.Recover(T))
    assert (made.writes, made.upcoming.ready) == (False, play.run("r"))
    assert not decide(ThreadView(None), commands.Recover(T), START).writes
