"""Who is charged when processes die: of many runs that die together, only the one that killed them."""

import pytest

from doubletext_server.engine.suspects import Suspects, judge
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Assistant, Run
from doubletext_statemachine.words import Reason, RunStatus, Strategy

ASSISTANT = Assistant(1, "a", "a", 0)


@pytest.mark.parametrize("runs", [1, 2, 3, 11, 64, 1000])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_the_run_that_kills_is_found_and_no_other_is_charged(runs: int, place: float) -> None:
    """Each time the process is there again, it tries the suspects in their order, and dies when it comes to the one."""
    names = [f"r{number}" for number in range(runs)]
    culprit = names[int(place * (runs - 1))]
    executed, suspects, deaths = set(names), dict[str, int](), 0
    while True:
        deaths += 1
        verdict = judge(executed, suspects)
        if verdict.charged is not None:
            break
        suspects = dict(verdict.suspects)
        waiting = [name for name in names if name in executed]
        at = waiting.index(culprit) // verdict.at_once * verdict.at_once
        cleared = set(waiting[:at])
        executed = set(waiting[at : at + verdict.at_once])
        suspects = {name: times for name, times in suspects.items() if name not in cleared}
    assert verdict.charged == culprit
    assert deaths <= 2 + runs.bit_length()


def test_the_only_suspect_beside_others_is_charged_the_second_time() -> None:
    first = judge({"a", "b", "c"}, {"b": 0, "x": 0})
    assert (first.charged, first.suspects, first.at_once) == (None, {"a": 0, "b": 1, "c": 0}, 1)
    assert judge({"b", "d"}, first.suspects) == ("b", {"b": 2, "d": 0}, 1)


def test_a_run_that_comes_and_kills_is_found_though_another_was_suspected() -> None:
    first = judge({"innocent", "culprit"}, {"innocent": 0})
    assert first.charged is None
    second = judge({"culprit", "new"}, first.suspects)  # the innocent one has made its way, or waits
    assert second.charged is None
    assert judge({"culprit", "newer"}, second.suspects).charged == "culprit"


def test_suspects_that_died_together_are_tried_half_at_a_time() -> None:
    suspected = dict.fromkeys("bcde", 0)
    assert judge({"a", "b", "c", "d", "e"}, suspected) == (None, suspected, 2)


def run(
    name: str, status: RunStatus = RunStatus.RUNNING, reason: Reason | None = None, worker: str | None = "w"
) -> Run:
    made = Run(name, f"thread of {name}", 1, ASSISTANT, Strategy.ENQUEUE, 0, 0)
    return made._replace(status=status, reason=reason, worker_id=worker)


def tell(suspects: Suspects, moved: Run) -> None:
    decision = Decision(None)
    decision.moved.append(moved)
    suspects.on_commit(moved.thread_id, decision)


def lose(suspects: Suspects, name: str, worker: str = "w") -> bool:
    """Let the run's lease end. Returns whether it is charged."""
    with suspects.sparing(f"thread of {name}") as spared:
        reason = Reason.RELEASED if spared else Reason.LEASE_LOST
        tell(suspects, run(name, RunStatus.PENDING, reason, worker))
    return spared is None


def test_of_a_worker_that_falls_silent_with_several_runs_none_is_charged() -> None:
    suspects = Suspects()
    for name in "abc":
        tell(suspects, run(name))
    assert [lose(suspects, name) for name in "abc"] == [False, False, False]
    assert set(suspects.runs) == set("abc")
    assert [suspects.may_be_tried(name) for name in "abc"] == [True, True, True]  # as long as none of them is tried
    tell(suspects, run("a", worker="v"))
    assert [suspects.may_be_tried(name) for name in "abcx"] == [True, False, False, True]
    assert lose(suspects, "a", "v")
    tell(suspects, run("b", worker="u"))
    tell(suspects, run("b", RunStatus.SUCCESS, worker="u"))
    assert set(suspects.runs) == {"a", "c"}


def test_a_worker_that_falls_silent_with_one_run_is_charged_for_it() -> None:
    suspects = Suspects()
    tell(suspects, run("a"))
    tell(suspects, run("b"))
    tell(suspects, run("b", RunStatus.SUCCESS))
    assert lose(suspects, "a")


def test_a_suspect_that_was_handed_out_and_not_claimed_makes_room() -> None:
    suspects = Suspects()
    suspects.suspect({"a": 0, "b": 0}, 1)
    suspects.tried("a")
    assert not suspects.may_be_tried("b")
    suspects.waits("a")
    assert suspects.may_be_tried("b")
