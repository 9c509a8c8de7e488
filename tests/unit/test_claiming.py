"""Claiming: what a claim starts, who gets nothing, and whose turn it is among the delayed and the handed back."""

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.model import DEFAULT_REDUCERS, Run, RunChanged, StepCommitted, ThreadView
from tests.unit.play import COUNTERS, GRAPHS, OTHER, START, Play
from tests.unit.world import S, T


def test_a_claim_starts_the_run_with_its_input_as_a_step(play: Play) -> None:
    play.put(commands.UpdateState(T, "{}", DEFAULT_REDUCERS))
    play.admit("r", assistant=OTHER)
    play.now += 3
    made = play.put(commands.ClaimRun(T, GRAPHS))
    run = made.run
    assert isinstance(run, Run)
    assert run == run._replace(
        status=S.RUNNING, attempt=1, epoch=1, start_time=play.now, base_step=1, last_step=2, reason=None
    )
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (2, "r", None, COUNTERS)
    assert [event.kind for event in made.events] == [RunChanged(S.PENDING, S.RUNNING), StepCommitted(2)]
    assert made.upcoming == (None, play.now + 30)


@pytest.mark.parametrize("hand_back", ["release", "recover"])
def test_a_run_that_is_claimed_again_has_its_input_once_and_a_new_epoch(play: Play, hand_back: str) -> None:
    play.start("r", steps=1, timeout=20)
    play.put(play.held(commands.ReleaseRun, "r") if hand_back == "release" else commands.Recover(T))
    play.now += 5
    made = play.put(commands.ClaimRun(T, GRAPHS))
    run = play.run("r")
    assert made.steps == []
    assert play.steps() == ("r", "r")
    assert (run.epoch, run.base_step, run.last_step, run.start_time, run.reason) == (2, 0, 2, play.now, None)
    assert run.attempt == {"release": 1, "recover": 2}[hand_back]
    assert run.deadline == play.now + 20


def test_a_claimer_of_other_graphs_starts_nothing(play: Play) -> None:
    play.admit("r")
    made = play.put(commands.ClaimRun(T, frozenset({"h"})))
    assert (made.run, made.writes) == (None, False)
    assert made.upcoming.ready == play.run("r")


def test_a_claimer_does_not_get_a_run_that_waits_behind_one_of_another_graph(play: Play) -> None:
    play.admit("first")
    play.admit("second", assistant=OTHER)
    assert play.claim("h") is None
    assert play.claimed("first")


def test_nothing_is_claimed_beside_a_running_run(play: Play) -> None:
    play.start("r")
    play.admit("p")
    assert play.claim() is None


def test_nothing_is_claimed_on_a_thread_without_runs_or_without_a_thread(play: Play) -> None:
    assert play.claim() is None
    assert not decide(ThreadView(None), commands.ClaimRun(T, GRAPHS), START).writes


# Order, delay, and those that were handed back


def test_a_delayed_run_starts_when_it_is_due_and_not_an_instant_before(play: Play) -> None:
    made = play.admit("r", delay=10)
    assert made.upcoming == (None, START + 10)
    play.now = START + 9
    assert play.claim() is None
    play.now = START + 10
    assert play.put(commands.Tick(T)).upcoming.ready == play.run("r")
    assert play.claimed("r")


def test_a_delayed_run_holds_up_none_that_was_admitted_after_it(play: Play) -> None:
    play.admit("delayed", delay=10)
    made = play.admit("prompt")
    assert (made.queue_position, made.upcoming.ready) == (1, play.run("prompt"))
    play.claimed("prompt")


def test_a_delayed_run_that_became_due_goes_before_those_admitted_after_it(play: Play) -> None:
    play.start("r")
    play.admit("delayed", delay=10)
    play.admit("prompt")
    play.now += 10
    play.succeed("r")
    play.claimed("delayed")


def test_delayed_runs_wait_in_order_of_when_they_are_due(play: Play) -> None:
    play.admit("late", delay=20)
    made = play.admit("soon", delay=10)
    assert (made.queue_position, made.upcoming.wake) == (1, START + 10)
    assert play.admit("between", delay=15).queue_position == 2
    play.now += 20
    assert [play.claimed(name).run_id for name in ("late",)] == ["late"]


def test_a_run_that_was_handed_back_goes_before_all_others(play: Play) -> None:
    play.admit("first", delay=10)
    play.start("r", steps=1)
    play.now += 10
    play.put(play.held(commands.ReleaseRun, "r"))
    assert play.admit("new").queue_position == 3
    play.claimed("r")
    play.succeed("r")
    play.claimed("first")
