"""The reducers and the fold: what becomes of a state, step by step."""

import copy
import json
import random
from collections.abc import Iterable
from typing import Any, Final

import pytest

from doubletext_statemachine.model import DEFAULT_REDUCERS, RULES, Reducers
from doubletext_statemachine.state import ABSENT, REDUCE, Change, Values, as_list
from doubletext_statemachine.state import fold as fold_changes
from doubletext_statemachine.words import Reducer

REPLACE: Final[Reducers] = {"k": Reducer.REPLACE}
APPEND: Final[Reducers] = {"k": Reducer.APPEND}
MESSAGES: Final[Reducers] = {"k": Reducer.MESSAGES}


def fold(values: Values, steps: Iterable[tuple[Values, Reducers]], rules: int = RULES) -> Values:
    return fold_changes(values, [Change(update, reducers, rules) for update, reducers in steps])


def folded(old: Any, *steps: tuple[Any, Reducers]) -> Any:
    """What key "k" is after the steps."""
    return fold({"k": old}, [({"k": value}, reducers) for value, reducers in steps])["k"]


def m(name: str, text: str = "") -> dict[str, Any]:
    return {"id": name, "content": text}


def test_each_reducer_of_the_domain_is_one_of_the_fold() -> None:
    assert set(REDUCE) == set(Reducer)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (None, []),
        ([], []),
        ([1], [1]),
        ([None], [None]),
        (0, [0]),
        ("", [""]),
        (False, [False]),
        ({}, [{}]),
        ("ab", ["ab"]),
    ],
)
def test_anything_is_a_list_of_what_it_holds(value: Any, items: list[Any]) -> None:
    assert as_list(value) == items


@pytest.mark.parametrize("old", [None, 1, [1], {"a": 1}])
@pytest.mark.parametrize("new", [None, 0, "", [], [2], {"b": 2}])
def test_replace_puts_the_new_value_whatever_was_there(old: Any, new: Any) -> None:
    assert folded(old, (new, REPLACE)) == new


def test_replace_sets_null_and_does_not_remove_the_key() -> None:
    assert fold({"k": 1}, [({"k": None}, REPLACE)]) == {"k": None}


def test_replace_does_not_merge_objects() -> None:
    assert folded({"a": 1, "b": 1}, ({"b": 2}, REPLACE)) == {"b": 2}


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ([1], [2, 3], [1, 2, 3]),
        ([1], 2, [1, 2]),
        ([1], None, [1]),
        ([1], [], [1]),
        ([1], [None], [1, None]),
        ([1], [[2]], [1, [2]]),
        (1, 2, [1, 2]),
        (0, False, [0, False]),
        ("ab", "cd", ["ab", "cd"]),
        (None, [1], [1]),
        (None, None, []),
        ({"a": 1}, {"b": 2}, [{"a": 1}, {"b": 2}]),
        ([{"id": "x"}], [{"id": "x"}], [{"id": "x"}, {"id": "x"}]),
    ],
)
def test_append_makes_a_list_of_both(old: Any, new: Any, result: Any) -> None:
    assert folded(old, (new, APPEND)) == result


@pytest.mark.parametrize("reducers", [APPEND, MESSAGES])
@pytest.mark.parametrize(("value", "result"), [(None, []), ([], []), ("a", ["a"]), ([1, 2], [1, 2])])
def test_a_key_that_was_not_there_begins_as_an_empty_list(reducers: Reducers, value: Any, result: Any) -> None:
    assert fold({}, [({"k": value}, reducers)]) == {"k": result}


def test_a_key_that_an_update_does_not_name_stays() -> None:
    assert fold({"k": 1, "other": [2]}, [({"k": 3}, {"other": Reducer.APPEND})]) == {"k": 3, "other": [2]}


def test_a_key_without_a_reducer_is_replaced() -> None:
    assert fold({"k": [1]}, [({"k": [2]}, {})]) == {"k": [2]}


def test_by_default_messages_are_messages_and_all_else_is_replaced() -> None:
    steps = [({"messages": [m("1", "a")], "k": [1]}, DEFAULT_REDUCERS)] * 2
    assert fold({}, copy.deepcopy(steps)) == {"messages": [m("1", "a")], "k": [1]}


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ([m("1"), m("2"), m("3")], [m("2", "new")], [m("1"), m("2", "new"), m("3")]),
        ([m("1")], [m("2")], [m("1"), m("2")]),
        ([m("1")], m("2"), [m("1"), m("2")]),
        ([m("1", "old")], m("1", "new"), [m("1", "new")]),
        (m("1", "old"), m("1", "new"), [m("1", "new")]),
        (None, [m("1")], [m("1")]),
        ([m("1")], None, [m("1")]),
        ([m("1")], [], [m("1")]),
        (["text"], ["text"], ["text", "text"]),
        ([m("1")], ["text", 5, None, [m("1")]], [m("1"), "text", 5, None, [m("1")]]),
    ],
)
def test_messages_are_appended_and_one_of_a_known_id_replaces_it_in_place(old: Any, new: Any, result: Any) -> None:
    assert folded(old, (new, MESSAGES)) == result


def test_a_replaced_message_is_replaced_whole() -> None:
    assert folded([{"id": "1", "a": 1, "b": 1}], ([{"id": "1", "b": 2}], MESSAGES)) == [{"id": "1", "b": 2}]


def test_an_id_given_twice_in_one_update_stands_once_at_its_first_place_with_its_last_content() -> None:
    update = [m("1", "first"), m("2"), m("1", "second")]
    assert folded([], (update, MESSAGES)) == [m("1", "second"), m("2")]


def test_an_id_added_by_one_step_is_known_to_the_next() -> None:
    steps = (([m("1"), m("2")], MESSAGES), ([m("3"), m("1", "new")], MESSAGES), ([m("3", "new")], MESSAGES))
    assert folded(None, *steps) == [m("1", "new"), m("2"), m("3", "new")]


@pytest.mark.parametrize("name", [1, 1.0, True, None, ["1"], {"a": 1}])
def test_what_is_not_text_is_no_id(name: Any) -> None:
    assert folded([{"id": name}], ([{"id": name}], MESSAGES)) == [{"id": name}, {"id": name}]


def test_messages_without_an_id_are_never_merged() -> None:
    same = {"role": "user", "content": "again"}
    assert folded([same], ([same], MESSAGES), ([same], MESSAGES)) == [same, same, same]


def test_ids_of_one_key_are_unknown_to_another() -> None:
    both: Reducers = {"a": Reducer.MESSAGES, "b": Reducer.MESSAGES}
    values = fold({}, [({"a": [m("0"), m("1")]}, both), ({"b": [m("1", "b")]}, both), ({"a": [m("1", "a")]}, both)])
    assert values == {"a": [m("0"), m("1", "a")], "b": [m("1", "b")]}


# Reducers may change from step to step, with the assistant that makes the step.


def test_a_list_that_was_replaced_has_none_of_its_old_ids() -> None:
    steps = (([m("1"), m("2")], MESSAGES), ([m("0")], REPLACE), ([m("2", "new"), m("0", "new")], MESSAGES))
    assert folded(None, *steps) == [m("0", "new"), m("2", "new")]


def test_a_message_that_was_appended_plainly_is_found_by_its_id_later() -> None:
    steps = (([m("1")], MESSAGES), ([m("2")], APPEND), ([m("2", "new")], MESSAGES))
    assert folded(None, *steps) == [m("1"), m("2", "new")]


def test_of_an_id_that_stands_twice_the_newer_message_is_replaced() -> None:
    steps = (([m("1", "a")], MESSAGES), ([m("1", "b")], APPEND), ([m("1", "c")], MESSAGES))
    assert folded(None, *steps) == [m("1", "a"), m("1", "c")]


def test_messages_after_a_scalar_begin_with_it() -> None:
    assert folded(None, ("hello", REPLACE), ([m("1")], MESSAGES)) == ["hello", m("1")]


def plain(steps: list[tuple[Values, Reducers]]) -> Values:
    """The fold as the contract words it, slowly."""
    values: Values = {}
    for update, reducers in steps:
        for key, value in update.items():
            reducer = reducers.get(key, Reducer.REPLACE)
            if reducer is Reducer.REPLACE:
                values[key] = value
                continue
            old, new = values.get(key), value
            items = list(old) if isinstance(old, list) else [] if old is None else [old]
            for item in new if isinstance(new, list) else [] if new is None else [new]:
                name = item.get("id") if isinstance(item, dict) else None
                same = [at for at, each in enumerate(items) if isinstance(each, dict) and each.get("id") == name]
                if reducer is Reducer.MESSAGES and isinstance(name, str) and same:
                    items[same[-1]] = item
                else:
                    items.append(item)
            values[key] = items
    return values


def a_value(dice: random.Random) -> Any:
    if dice.random() < 0.2:
        return dice.choice([None, 0, "", "text", False, {}, m("1", "alone")])
    return [
        dice.choice([m(dice.choice("123"), str(dice.random())), "text", {"id": 1}]) for _ in range(dice.randrange(4))
    ]


@pytest.mark.parametrize("seed", range(200))
def test_folding_at_once_or_from_any_state_between_comes_to_the_same(seed: int) -> None:
    dice = random.Random(seed)
    steps: list[tuple[Values, Reducers]] = [
        (
            {key: a_value(dice) for key in dice.sample("ab", dice.randrange(3))},
            {key: dice.choice(list(Reducer)) for key in "ab"},
        )
        for _ in range(8)
    ]
    whole = fold({}, copy.deepcopy(steps))
    assert whole == plain(copy.deepcopy(steps))
    for cut in range(len(steps)):
        snapshot = json.loads(json.dumps(fold({}, copy.deepcopy(steps[:cut]))))
        assert fold(snapshot, copy.deepcopy(steps[cut:])) == whole


def test_fold_changes_the_values_it_is_given_and_returns_them() -> None:
    values: Values = {"k": 1}
    assert fold(values, [({"k": 2}, REPLACE)]) is values


GONE: Final = {ABSENT: True}


@pytest.mark.parametrize("reducers", [{}, REPLACE, APPEND, MESSAGES])
@pytest.mark.parametrize("old", [None, 1, [m("1")], GONE])
def test_a_key_is_removed_whatever_its_reducer(old: Any, reducers: Reducers) -> None:
    assert fold({"k": old, "other": 1}, [({"k": GONE}, reducers)]) == {"other": 1}
    assert fold({"other": 1}, [({"k": GONE}, reducers)]) == {"other": 1}


@pytest.mark.parametrize("reducers", [APPEND, MESSAGES])
def test_a_key_that_was_removed_begins_anew(reducers: Reducers) -> None:
    steps: list[Any] = [
        ({"k": [m("1"), m("2")]}, reducers),
        ({"k": GONE}, reducers),
        ({"k": [m("2", "new")]}, reducers),
    ]
    assert fold({}, steps) == {"k": [m("2", "new")]}


@pytest.mark.parametrize("value", [GONE, {ABSENT: [GONE]}, {ABSENT: [1]}, {ABSENT: [{ABSENT: [GONE]}]}, None, 1])
def test_every_value_can_be_quoted(value: Any) -> None:
    assert folded(1, ({ABSENT: [value]}, REPLACE)) == value


@pytest.mark.parametrize(
    "value",
    [
        {ABSENT: 1},
        {ABSENT: False},
        {ABSENT: []},
        {ABSENT: [1, 2]},
        {ABSENT: True, "more": 1},
        {ABSENT: [1], "more": 1},
        {"nested": GONE},
        [GONE],
        ABSENT,
    ],
)
def test_what_only_looks_like_a_removal_is_a_value(value: Any) -> None:
    assert folded(0, (value, REPLACE)) == value


def test_a_message_is_removed_by_its_id() -> None:
    old = [m("1"), m("2"), m("3")]
    assert folded(old, ([{"id": "2", "remove": True}], MESSAGES)) == [m("1"), m("3")]


@pytest.mark.parametrize(
    ("new", "result"),
    [
        ([{"id": "9", "remove": True}], [m("1"), m("2")]),
        ([{"id": "1", "remove": True}, m("1", "new")], [m("2"), m("1", "new")]),
        ([m("1", "new"), {"id": "1", "remove": True}], [m("2")]),
        ([m("3"), {"id": "3", "remove": True}], [m("1"), m("2")]),
        ({"id": "1", "remove": True}, [m("2")]),
        ([{"id": "1", "remove": True}, {"id": "2", "remove": True}], []),
    ],
)
def test_removed_and_added_in_one_update_is_in_the_order_of_the_update(new: Any, result: Any) -> None:
    assert folded([m("1"), m("2")], (new, MESSAGES)) == result


@pytest.mark.parametrize(
    "item", [{"id": "1", "remove": 1}, {"id": "1", "remove": False}, {"id": "1", "remove": True, "content": "x"}]
)
def test_what_only_looks_like_a_removed_message_replaces_it(item: Any) -> None:
    assert folded([m("1"), m("2")], ([item], MESSAGES)) == [item, m("2")]


@pytest.mark.parametrize("item", [{"id": "", "remove": True}, {"remove": True}, {"id": 1, "remove": True}])
def test_a_removal_that_names_nobody_is_an_element(item: Any) -> None:
    assert folded([m("1")], ([item], MESSAGES)) == [m("1"), item]


def test_an_empty_id_is_no_id() -> None:
    assert folded([m("", "a")], ([m("", "b")], MESSAGES), ([m("", "c")], MESSAGES)) == [m("", x) for x in "abc"]


def test_a_removal_before_a_list_is_appended_to_or_replaced() -> None:
    gone = [{"id": "1", "remove": True}]
    assert folded([m("1"), m("2")], (gone, MESSAGES), ([m("3")], APPEND)) == [m("2"), m("3")]
    assert folded([m("1"), m("2")], (gone, MESSAGES), (5, REPLACE)) == 5
    assert folded([m("1"), m("2")], (gone, MESSAGES), (5, REPLACE), (gone, MESSAGES)) == [5]


def test_steps_that_exist_fold_by_the_rules_they_were_made_under() -> None:
    steps: list[Any] = [
        ({"k": [m("", "a"), m("1")]}, MESSAGES),
        ({"k": [m("", "b"), {"id": "1", "remove": True}]}, MESSAGES),
    ]
    assert fold({}, steps, rules=1) == {"k": [m("", "b"), {"id": "1", "remove": True}]}
    assert fold({}, [({"k": GONE}, REPLACE)], rules=1) == {"k": GONE}
