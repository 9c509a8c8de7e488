"""What an attempt writes, and how it ends by itself."""

from doubletext_statemachine import commands
from doubletext_statemachine.model import Output, RunChanged, StepCommitted
from tests.unit.play import COUNTERS, OTHER, Play
from tests.unit.world import R, S


def test_a_step_of_the_running_run_is_the_threads_next(play: Play) -> None:
    play.start("r", assistant=OTHER)
    made = play.put(play.held(commands.CommitStep, "r", '{"count":1}'))
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (2, "r", '{"count":1}', COUNTERS)
    assert made.run == made.moved[0] == play.run("r")
    assert (play.run("r").last_step, play.run("r").status) == (2, S.RUNNING)
    assert [event.kind for event in made.events] == [StepCommitted(2)]


def test_an_output_is_an_event_and_changes_nothing_else(play: Play) -> None:
    before = play.start("r")
    made = play.put(play.held(commands.PublishOutput, "r", (Output("tokens", '{"t":1}'),)))
    assert [(event.run_id, event.kind) for event in made.events] == [("r", Output("tokens", '{"t":1}'))]
    assert (made.steps, made.moved, play.run("r")) == ([], [], before)


def test_a_success_frees_the_thread_for_the_next_run_at_once(play: Play) -> None:
    play.start("r")
    play.admit("p")
    made = play.succeed("r")
    assert (play.run("r").status, play.run("r").end_time, play.run("r").reason) == (S.SUCCESS, play.now, None)
    assert play.thread.stopping is None
    assert made.upcoming.ready == play.run("p")


def test_a_success_may_bring_a_last_step(play: Play) -> None:
    play.start("r")
    made = play.put(play.held(commands.SucceedRun, "r", '{"a":1}'))
    assert [(step.step, step.update) for step in made.steps] == [(2, '{"a":1}')]
    assert [event.kind for event in made.events] == [StepCommitted(2), RunChanged(S.RUNNING, S.SUCCESS)]
    assert (play.run("r").last_step, play.run("r").left_state_at) == (2, 2)


def test_a_failure_keeps_the_steps_and_says_what_failed(play: Play) -> None:
    play.start("r", steps=1)
    made = play.put(play.held(commands.FailRun, "r", "ValueError", "no"))
    run = play.run("r")
    assert (run.status, run.error_type, run.error_message, run.last_step) == (S.ERROR, "ValueError", "no", 2)
    assert play.steps() == ("r", "r")
    assert made.upcoming == (None, None)


def test_a_released_run_has_not_used_up_an_attempt(play: Play) -> None:
    play.start("r", steps=1)
    for _ in range(3):
        made = play.put(play.held(commands.ReleaseRun, "r"))
        run = play.run("r")
        assert (run.status, run.attempt, run.reason, run.last_step) == (S.PENDING, 0, R.RELEASED, 2)
        assert made.upcoming.ready == run
        assert play.claimed("r").attempt == 1
    assert play.run("r").epoch == 4
