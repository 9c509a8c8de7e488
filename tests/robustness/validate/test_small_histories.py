"""Small histories whose verdict is plain: overlaps that allow either order, calls whose outcome nobody knows."""

import pytest

from tests.robustness.validate.history import judge
from tests.robustness.validate.linearizability import Op, orderable
from tests.robustness.validate.small_histories import Tiny, pending


def good(tiny: Tiny) -> bool:
    return judge(tiny.history) == []


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_calls_that_overlap_may_happen_in_either_order(order: str) -> None:
    tiny = Tiny()
    for number, tag in enumerate(order, 1):
        tiny.admitted(tag, number)
        tiny.creates(tag, 1, 4, number, number, number)
    assert good(tiny)


@pytest.mark.parametrize(("order", "verdict"), [("ab", True), ("ba", False)])
def test_a_call_that_was_answered_before_another_began_happened_before_it(order: str, verdict: bool) -> None:
    tiny = Tiny()
    for number, tag in enumerate(order, 1):
        tiny.admitted(tag, number)
        began = 1 if tag == "a" else 2.5
        tiny.creates(tag, began, began + 1, number, number, number)
    assert good(tiny) is verdict


@pytest.mark.parametrize("happened", [True, False])
def test_a_call_whose_outcome_is_not_known_may_have_happened_or_not(happened: bool) -> None:
    tiny = Tiny()
    tiny.creates_unknown("a", 1, 2)
    if happened:
        tiny.admitted("a", 1.5)
    tiny.lists(3, 4, *([pending("a", 1.5)] if happened else []))
    assert good(tiny)


@pytest.mark.parametrize("happened", [True, False])
def test_a_refusal_is_right_only_if_the_call_of_unknown_outcome_had_happened(happened: bool) -> None:
    tiny = Tiny()
    tiny.creates_unknown("a", 1, 2)
    if happened:
        tiny.admitted("a", 1.5)
    tiny.refused(3, 4, "a")
    assert good(tiny) is happened


@pytest.mark.parametrize("happened", [True, False])
def test_reject_is_accepted_only_if_the_call_of_unknown_outcome_had_not_happened_by_then(happened: bool) -> None:
    tiny = Tiny()
    tiny.creates_unknown("a", 1, 2)
    if happened:
        tiny.admitted("a", 1.5)
    number = 1 + happened
    tiny.admitted("b", 3.5)
    tiny.creates("b", 3, 4, 3.5, number, number, "reject")
    assert good(tiny) is not happened


def test_a_call_that_was_given_up_may_happen_long_after_it() -> None:
    tiny = Tiny()
    tiny.creates_unknown("a", 1, 2)
    tiny.lists(3, 4)
    tiny.admitted("a", 5)
    tiny.lists(6, 7, pending("a", 5))
    assert good(tiny)


@pytest.mark.parametrize(("killed", "verdict"), [(2.5, False), (5.5, True)])
def test_no_call_happens_after_the_server_that_had_it_is_dead(killed: float, verdict: bool) -> None:
    tiny = Tiny()
    tiny.history.kills.append(killed)
    tiny.creates_unknown("a", 1, 2)
    tiny.lists(3, 4)
    tiny.admitted("a", 5)
    tiny.lists(6, 7, pending("a", 5))
    assert good(tiny) is verdict


def test_a_call_that_was_tried_again_happened_once() -> None:
    tiny = Tiny()
    tiny.admitted("a", 1.5)
    tiny.creates_unknown("a", 1, 2)
    tiny.creates("a", 3, 4, 1.5)
    assert good(tiny)
    tiny.admitted("a", 3.5)
    tiny.life.events[-1]["run_id"] = "run again"
    tiny.lists(5, 6, {**pending("a", 3.5, 2, 2), "run_id": "run again"}, pending("a", 1.5))
    assert not good(tiny)


@pytest.mark.parametrize(("began", "verdict"), [(2, True), (4, False)])
def test_a_reading_that_overlaps_the_change_may_miss_it(began: float, verdict: bool) -> None:
    """The other has seen it already; only while the two overlap may this one not have."""
    tiny = Tiny()
    tiny.admitted("a", 2.5)
    tiny.creates_unknown("a", 1)
    tiny.lists(2, 3, pending("a", 2.5))
    tiny.lists(began, 5)
    assert good(tiny) is verdict


@pytest.mark.parametrize(("seen", "verdict"), [(3.5, True), (2.5, False)])
def test_who_asks_after_a_watcher_was_told_sees_what_it_saw(seen: float, verdict: bool) -> None:
    tiny = Tiny()
    tiny.admitted("a", 2, seen)
    tiny.creates_unknown("a", 1)
    tiny.lists(3, 4)
    assert good(tiny) is verdict


@pytest.mark.parametrize(("reads", "verdict"), [("ab", True), ("ba", True), ("abab", False)])
def test_settings_that_overlap_are_made_in_one_order_for_all(reads: str, verdict: bool) -> None:
    tiny = Tiny()
    tiny.sets("a", 1, 9)
    tiny.sets("b", 1, 9)
    for moment, tag in enumerate(reads, 2):
        tiny.reads(tag, moment, moment + 0.5)
    assert good(tiny) is verdict


@pytest.mark.parametrize(
    ("last", "verdict"),
    [(9, True), (2, False)],
    ids=["it can happen late", "its server was dead by then"],
)
def test_a_value_that_an_unknown_call_wrote_is_explained_by_it_alone(last: float, verdict: bool) -> None:
    ops = [Op(0, 0.5, writes="a"), Op(1, last, writes="b", certain=False), Op(3, 4, reads="a"), Op(5, 6, reads="b")]
    assert orderable(ops, "") is verdict
    assert not orderable([op for op in ops if op.certain], "")
    assert orderable(ops[:3], "")
