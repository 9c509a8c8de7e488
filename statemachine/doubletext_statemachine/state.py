"""The state of a thread: the fold of its steps. Total: every JSON object is a legal update of every state."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from doubletext_statemachine.model import Reducers
from doubletext_statemachine.words import Reducer

Values: TypeAlias = dict[str, Any]
IdIndex: TypeAlias = dict[str, int]


def as_list(value: Any) -> list[Any]:
    """A list as it is, null as an empty one, any other value as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def fold(values: Values, steps: Iterable[tuple[Values, Reducers]]) -> Values:
    """Apply steps, (update, reducers) each, to `values` in place, and return it.

    Linear in what is folded: ids in a MESSAGES list are looked up in an index that is built once a fold.
    """
    indexes: dict[str, IdIndex] = {}
    for update, reducers in steps:
        for key, value in update.items():
            REDUCE[reducers.get(key, Reducer.REPLACE)](values, key, value, indexes)
    return values


def _replace(values: Values, key: str, value: Any, indexes: dict[str, IdIndex]) -> None:
    values[key] = value
    indexes.pop(key, None)


def _append(values: Values, key: str, value: Any, indexes: dict[str, IdIndex]) -> None:
    old = as_list(values.get(key))
    old.extend(as_list(value))
    values[key] = old
    indexes.pop(key, None)


def _messages(values: Values, key: str, value: Any, indexes: dict[str, IdIndex]) -> None:
    old = as_list(values.get(key))
    index = indexes.get(key)
    if index is None:
        index = indexes[key] = {name: at for at, item in enumerate(old) if (name := _id(item)) is not None}
    for item in as_list(value):
        name = _id(item)
        if name is not None and name in index:
            old[index[name]] = item
            continue
        if name is not None:
            index[name] = len(old)
        old.append(item)
    values[key] = old


def _id(item: Any) -> str | None:
    name = item.get("id") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


REDUCE: dict[Reducer, Callable[[Values, str, Any, dict[str, IdIndex]], None]] = {
    Reducer.REPLACE: _replace,
    Reducer.APPEND: _append,
    Reducer.MESSAGES: _messages,
}
