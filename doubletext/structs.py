"""JSON objects as google.protobuf.Struct and back, for both ends of the wire.

Struct has one kind of number, the double. A whole number within ±2^53 comes back as an int, every other as a float.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

DEEPEST: Final = 30
"""How many objects and lists may stand in one another. protobuf reads 100 levels of messages at most, an object being
three of them, and whoever accepts more hands out answers that no client can read."""

_EXACT: Final = 2**53


def to_struct(values: Mapping[str, Any]) -> Struct:
    """Return `values`, a JSON object, as a Struct.

    Raises TypeError for what JSON has no form for, and ValueError for a number that is not finite or too large for a
    double, and for more than DEEPEST levels; both name the place.
    """
    struct = Struct()
    fill_struct(struct, values)
    return struct


def update_struct(update: Any) -> Struct:
    """Return what a graph gave as an update as a Struct. Raises TypeError for what is no dict, and as `to_struct`."""
    if not isinstance(update, Mapping):
        raise TypeError(f"a graph's update must be a dict, not {type(update).__name__}")
    return to_struct(update)


def fill_struct(struct: Struct, values: Mapping[str, Any], path: str = "", depth: int = 1) -> None:
    """Set `values` in an empty Struct; errors as in to_struct, named from `path` on."""
    _check_depth(depth, path)
    fields = struct.fields
    for key, value in values.items():
        if type(key) is not str:
            raise TypeError(f"{path or 'the object'} has a key that is no string: {key!r}")
        _fill(fields[key], value, path, key, depth)


def _fill(target: Value, value: Any, path: str, key: str | int, depth: int) -> None:
    kind = type(value)
    if kind is str:
        target.string_value = value
    elif kind is int or kind is float:
        target.number_value = _double(value, path, key)
    elif kind is bool:
        target.bool_value = value
    elif value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        fill_struct(target.struct_value, value, _at(path, key), depth + 1)
    elif isinstance(value, (list, tuple)):
        target.list_value.SetInParent()
        add, here = target.list_value.values.add, _at(path, key)
        _check_depth(depth + 1, here)
        for index, item in enumerate(value):
            _fill(add(), item, here, index, depth + 1)
    elif isinstance(value, (str, int, float)):  # subclasses: string enums, numpy's floats
        _fill(target, _plain(value), path, key, depth)
    else:
        raise TypeError(f"{_at(path, key)} is a {kind.__name__}, which JSON has no form for")


def _plain(value: str | int | float) -> str | int | float:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise AssertionError(value)


def _double(value: float, path: str, key: str | int) -> float:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise ValueError(f"{_at(path, key)} is not a finite number")
    return double


def _check_depth(depth: int, path: str) -> None:
    if depth > DEEPEST:
        raise ValueError(f"{path} is nested deeper than {DEEPEST} levels")


def from_struct(struct: Struct, path: str = "", depth: int = 1) -> dict[str, Any]:
    """Return a Struct as a JSON object.

    Raises ValueError for a number that is not finite, a value with no kind set, or more than DEEPEST levels; it names
    the place, from `path` on.
    """
    _check_depth(depth, path)
    return {key: _read(value, path, key, depth) for key, value in struct.fields.items()}


def _read(value: Value, path: str, key: str | int, depth: int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = _double(value.number_value, path, key)
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "struct_value":
        return from_struct(value.struct_value, _at(path, key), depth + 1)
    if kind == "list_value":
        here = _at(path, key)
        _check_depth(depth + 1, here)
        return [_read(item, here, index, depth + 1) for index, item in enumerate(value.list_value.values)]
    if kind == "bool_value":
        return value.bool_value
    if kind == "null_value":
        return None
    raise ValueError(f"{_at(path, key)} has no value set")


def _at(path: str, key: str | int) -> str:
    """The place of a key, for people: long keys and paths are cut short."""
    path = path if len(path) <= 100 else "…" + path[-100:]
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key if len(key) <= 40 else key[:40] + "…"
    return f"{path}.{key}" if path else key
