"""The judge says yes to what a server did, and no to each violation that is planted there."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from tests.robustness.history.history import History, entries, history
from tests.robustness.validate.history import judge
from tests.robustness.validate.recorded_history import record
from tests.robustness.validate.wrong_histories import PLANTS, call, planted


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> History:
    return asyncio.run(record(tmp_path_factory.mktemp("story")))


def test_what_a_server_did_is_found_good(good: History) -> None:
    assert judge(good) == []
    assert judge(history(entries(good))) == []


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_violation_is_found(good: History, plant: Callable[[History], None]) -> None:
    assert judge(planted(good, plant)) != []


UNKNOWN = [
    "a",
    "b",
    "d",
    "f",
    "g",
    "g cancelled",
    "i cancelled",
    "by hand",
    "second",
    "a deleted",
    "deleted",
    "made anew",
]


@pytest.mark.parametrize("labels", [[label] for label in UNKNOWN] + [UNKNOWN], ids=" and ".join)
def test_calls_whose_outcome_is_not_known_are_found_good_if_they_happened(good: History, labels: Iterable[str]) -> None:
    def forget(history: History) -> None:
        for label in labels:
            forgotten = call(history, label)
            forgotten.outcome, forgotten.answer = "unknown", {}

    assert judge(planted(good, forget)) == []


def test_calls_whose_outcome_is_not_known_are_found_good_if_they_never_happened(good: History) -> None:
    def forget(history: History) -> None:
        for label in ("busy", "busy by hand"):
            forgotten = call(history, label)
            forgotten.outcome, forgotten.answer = "unknown", {}

    assert judge(planted(good, forget)) == []


def test_a_call_that_took_longer_is_found_good_all_the_same(good: History) -> None:
    """More overlaps allow more orders."""

    def slower(history: History) -> None:
        for place, each in enumerate(history.calls):
            each.began -= 0.3 * (place % 3)
            each.ended += 0.2 * (place % 5)

    assert judge(planted(good, slower)) == []
