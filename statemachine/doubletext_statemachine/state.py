"""The state of a thread: the fold of its steps. Total: every JSON object is a legal update of every state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from doubletext_statemachine.model import RULES, Reducers
from doubletext_statemachine.words import Reducer

Values: TypeAlias = dict[str, Any]

REMOVAL_RULES: Final = 2
"""Since these rules a step can remove a key or a message, and an empty `id` is none."""
ABSENT: Final = "doubletext:absent"
"""As the only key of a value: {ABSENT: true} removes the key, and {ABSENT: [value]} is `value` as it is."""


class Change(NamedTuple):
    """A step as it is folded. `rules` are those it was made under: see `model.RULES`."""

    update: Values
    reducers: Reducers
    rules: int = RULES


def as_list(value: Any) -> list[Any]:
    """A list as it is, null as an empty one, any other value as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


@dataclass(slots=True)
class _Fold:
    """values   what is folded into
    indexes  of each MESSAGES list that was changed so far: where each id is
    holed    the lists in which a REMOVED stands for a message that was removed, until the fold ends
    """

    values: Values
    indexes: dict[str, dict[str, int]] = field(default_factory=dict)
    holed: set[str] = field(default_factory=set)


REMOVED: Final = object()


def fold(values: Values, steps: Iterable[Change]) -> Values:
    """Apply steps to `values` in place, and return it.

    Linear in what is folded: ids in a MESSAGES list are looked up in an index that is built once a fold, and what was
    removed from a list leaves it at the end.
    """
    folding = _Fold(values)
    for update, reducers, rules in steps:
        for key, value in update.items():
            reduce = REDUCE[reducers.get(key, Reducer.REPLACE)]
            if rules < REMOVAL_RULES or not isinstance(value, dict) or value.keys() != {ABSENT}:
                reduce(folding, key, value, rules)
            elif value[ABSENT] is True:
                _remove(folding, key)
            elif isinstance(value[ABSENT], list) and len(value[ABSENT]) == 1:
                reduce(folding, key, value[ABSENT][0], rules)
            else:
                reduce(folding, key, value, rules)
    for key in folding.holed:
        values[key] = [item for item in values[key] if item is not REMOVED]
    return values


def _remove(folding: _Fold, key: str) -> None:
    folding.values.pop(key, None)
    folding.indexes.pop(key, None)
    folding.holed.discard(key)


def _replace(folding: _Fold, key: str, value: Any, rules: int) -> None:
    folding.values[key] = value
    folding.indexes.pop(key, None)
    folding.holed.discard(key)


def _append(folding: _Fold, key: str, value: Any, rules: int) -> None:
    old = as_list(folding.values.get(key))
    old.extend(as_list(value))
    folding.values[key] = old
    folding.indexes.pop(key, None)


def _messages(folding: _Fold, key: str, value: Any, rules: int) -> None:
    old = as_list(folding.values.get(key))
    index = folding.indexes.get(key)
    if index is None:
        names = ((_id(item, rules), at) for at, item in enumerate(old))
        index = folding.indexes[key] = {name: at for name, at in names if name is not None}
    for item in as_list(value):
        name = _id(item, rules)
        if name and rules >= REMOVAL_RULES and item.keys() == {"id", "remove"} and item["remove"] is True:
            if name in index:
                old[index.pop(name)] = REMOVED
                folding.holed.add(key)
            continue
        if name is not None and name in index:
            old[index[name]] = item
            continue
        if name is not None:
            index[name] = len(old)
        old.append(item)
    folding.values[key] = old


def _id(item: Any, rules: int) -> str | None:
    name = item.get("id") if isinstance(item, dict) else None
    return name if isinstance(name, str) and (name or rules < REMOVAL_RULES) else None


REDUCE: dict[Reducer, Callable[[_Fold, str, Any, int], None]] = {
    Reducer.REPLACE: _replace,
    Reducer.APPEND: _append,
    Reducer.MESSAGES: _messages,
}
