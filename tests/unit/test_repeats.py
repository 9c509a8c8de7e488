"""A call that is repeated, since its answer was lost: it answers as the first did, and adds nothing."""

from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from tests.unit.play import LEASE, Play
from tests.unit.world import R, S, T

# Steps


def commit(play: Play, update: str, expected: int | None, epoch: int | None = None) -> Any:
    return play.wire(commands.CommitStep, "r", update, expected, epoch=epoch)


@pytest.mark.parametrize("expected", [None, 2])
def test_a_step_of_the_next_number_is_committed_and_answers_it(play: Play, expected: int | None) -> None:
    play.remote("r")
    made = play.put(commit(play, '{"a":1}', expected))
    assert (made.step, [step.step for step in made.steps]) == (2, [2])
    assert made.run == play.run("r")


def test_a_step_without_a_number_is_another_step_each_time(play: Play) -> None:
    play.remote("r")
    for number in (2, 3):
        assert play.put(commit(play, '{"a":1}', None)).step == number


def test_a_repeated_step_is_answered_as_the_first_was_and_adds_nothing(play: Play) -> None:
    play.remote("r")
    for number in (2, 3, 4):
        play.put(commit(play, f'{{"a":{number}}}', number))
    run = play.run("r")
    for number in (4, 2, 3):
        made = play.put(commit(play, f'{{"a":{number}}}', number))
        assert (made.writes, made.step, made.run, made.steps) == (False, number, run, [])
    assert play.steps() == ("r",) * 4


def test_a_repeated_step_of_an_earlier_attempt_is_known_to_the_next_one(play: Play) -> None:
    play.remote("r")
    play.put(commit(play, '{"a":1}', 2))
    play.now += LEASE
    play.put(commands.Tick(T))
    play.take("r")
    made = play.put(commit(play, '{"a":1}', 2, epoch=2))
    assert (made.writes, made.step) == (False, 2)
    assert play.refused(commit(play, '{"a":1}', 2, epoch=1), errors.LeaseLost)["cause"] == "CLAIMED_AGAIN"


NO_STEP_TO_REPEAT: Final = {
    # the thread: a step by hand, the run's input, two steps of the run's
    "of another content": ('{"a":0}', 3),
    "of the content of the step before": ('{"a":1}', 4),
    "the run's input": ("{}", 2),
    "before the run": ("{}", 1),
    "no step": ("{}", 0),
    "below all steps": ("{}", -1),
    "beyond the next one": ('{"a":2}', 6),
    "far beyond": ('{"a":2}', 2**63 - 1),
}


@pytest.mark.parametrize("what", list(NO_STEP_TO_REPEAT))
def test_a_number_that_is_not_the_next_ones_nor_of_the_very_step_is_refused(play: Play, what: str) -> None:
    play.put(commands.UpdateState(T, "{}", {}))
    play.remote("r")
    play.put(commit(play, '{"a":1}', 3))
    play.put(commit(play, '{"a":2}', 4))
    update, expected = NO_STEP_TO_REPEAT[what]
    with pytest.raises(errors.InvalidField) as refused:
        play.decide(commit(play, update, expected))
    ((field, problem),) = refused.value.violations
    assert field == "expected_step"
    assert problem.startswith(f"is {expected}; the run's next step is 5,")


def test_a_step_is_repeated_only_under_a_lease_that_holds(play: Play) -> None:
    play.remote("r")
    play.put(commit(play, '{"a":1}', 2))
    play.now += LEASE
    assert play.refused(commit(play, '{"a":1}', 2), errors.LeaseLost)["cause"] == "EXPIRED"


# Ends

OUTCOMES: Final[dict[str, tuple[type[commands.LeaseCommand], tuple[Any, ...]]]] = {
    "success": (commands.SucceedRun, (None, "nothing")),
    "success with a step": (commands.SucceedRun, ('{"a":1}', "a step")),
    "error": (commands.FailRun, ("E", "m", "an error")),
}


@pytest.mark.parametrize("outcome", list(OUTCOMES))
def test_a_repeated_outcome_answers_the_run_as_it_is_and_writes_nothing(play: Play, outcome: str) -> None:
    play.remote("r")
    play.admit("p")
    kind, more = OUTCOMES[outcome]
    play.put(play.wire(kind, "r", *more))
    run = play.run("r")
    assert run.outcome_digest == more[-1]
    for follow in (lambda: None, lambda: play.take("p"), lambda: play.cancel("p")):
        follow()
        made = play.put(play.wire(kind, "r", *more))
        assert (made.writes, made.run, made.refusal) == (False, run, None)


@pytest.mark.parametrize("outcome", list(OUTCOMES))
@pytest.mark.parametrize("other", list(OUTCOMES))
def test_another_outcome_than_the_first_is_refused(play: Play, outcome: str, other: str) -> None:
    play.remote("r")
    kind, more = OUTCOMES[outcome]
    play.put(play.wire(kind, "r", *more))
    kind, (*content, _) = OUTCOMES[other]
    facts = play.refused(play.wire(kind, "r", *content, "another"), errors.LeaseLost)
    assert (facts["cause"], facts["current_epoch"]) == ("ERROR" if outcome == "error" else "SUCCESS", "1")


@pytest.mark.parametrize("outcome", list(OUTCOMES))
@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_an_outcome_is_repeated_only_under_the_epoch_that_had_it(play: Play, outcome: str, epoch: int) -> None:
    play.remote("r")
    play.put(play.wire(commands.ReleaseRun, "r"))
    play.take("r")
    kind, more = OUTCOMES[outcome]
    play.put(play.wire(kind, "r", *more))
    assert not play.put(play.wire(kind, "r", *more, epoch=2)).writes
    assert play.refused(play.wire(kind, "r", *more, epoch=epoch), errors.LeaseLost)["current_epoch"] == "2"


def test_an_outcome_without_a_digest_is_not_taken_for_a_repeated_one(play: Play) -> None:
    play.start("r")
    play.succeed("r")
    assert play.run("r").outcome_digest is None
    assert play.refused(play.held(commands.SucceedRun, "r"), errors.LeaseLost)["cause"] == "SUCCESS"


# Handing back


def test_a_run_is_handed_back_once_however_often_it_is_asked(play: Play) -> None:
    play.remote("r", steps=1)
    play.put(play.wire(commands.ReleaseRun, "r"))
    run = play.run("r")
    for _ in range(2):
        made = play.put(play.wire(commands.ReleaseRun, "r"))
        assert (made.writes, made.upcoming.ready, play.run("r")) == (False, run, run)


@pytest.mark.parametrize("epoch", [0, 2])
def test_handing_back_is_repeated_only_under_the_epoch_that_did_it(play: Play, epoch: int) -> None:
    play.remote("r")
    play.put(play.wire(commands.ReleaseRun, "r"))
    facts = play.refused(play.wire(commands.ReleaseRun, "r", epoch=epoch), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "1", "cause": "RELEASED"}


def test_a_run_that_was_lost_is_not_taken_for_one_handed_back(play: Play) -> None:
    play.remote("r")
    play.now += LEASE
    play.put(commands.Tick(T))
    assert play.run("r").reason is R.LEASE_LOST
    assert play.refused(play.wire(commands.ReleaseRun, "r"), errors.LeaseLost)["cause"] == "LEASE_LOST"


def test_a_run_that_was_claimed_again_is_not_handed_back_by_the_one_before(play: Play) -> None:
    play.remote("r")
    play.put(play.wire(commands.ReleaseRun, "r"))
    play.take("r")
    assert play.refused(play.wire(commands.ReleaseRun, "r", epoch=1), errors.LeaseLost)["cause"] == "CLAIMED_AGAIN"
    assert play.run("r").status is S.RUNNING
