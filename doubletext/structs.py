"""JSON objects as google.protobuf.Struct and back, for both ends of the wire.

Struct has one kind of number, the double. A whole number within ±2^53 comes back as an int, every other as a float.
"""

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

_EXACT = 2**53


def to_struct(values: Mapping[str, Any]) -> Struct:
    """Return `values`, a JSON object, as a Struct.

    Raises TypeError for what JSON has no form for and ValueError for NaN and the infinities; both name the place.
    """
    struct = Struct()
    fill_struct(struct, values, "")
    return struct


def fill_struct(struct: Struct, values: Mapping[str, Any], path: str = "") -> None:
    """Set `values` in an empty Struct; errors as in to_struct, named from `path` on."""
    fields = struct.fields
    for key, value in values.items():
        if type(key) is not str:
            raise TypeError(f"{path or 'the object'} has a key that is no string: {key!r}")
        _fill(fields[key], value, path, key)


def _fill(target: Value, value: Any, path: str, key: str | int) -> None:
    kind = type(value)
    if kind is str:
        target.string_value = value
    elif kind is int or kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{_at(path, key)} is not a finite number")
        target.number_value = value
    elif kind is bool:
        target.bool_value = value
    elif value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        fill_struct(target.struct_value, value, _at(path, key))
    elif isinstance(value, (list, tuple)):
        target.list_value.SetInParent()
        add, here = target.list_value.values.add, _at(path, key)
        for index, item in enumerate(value):
            _fill(add(), item, here, index)
    elif isinstance(value, (str, int, float)):  # subclasses: string enums, numpy's floats
        _fill(target, _plain(value), path, key)
    else:
        raise TypeError(f"{_at(path, key)} is a {kind.__name__}, which JSON has no form for")


def _plain(value: str | int | float) -> str | int | float:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise AssertionError(value)


def from_struct(struct: Struct, path: str = "") -> dict[str, Any]:
    """Return a Struct as a JSON object.

    Raises ValueError for NaN, an infinity, or a value with no kind set; it names the place, from `path` on.
    """
    return {key: _read(value, path, key) for key, value in struct.fields.items()}


def _read(value: Value, path: str, key: str | int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        if not math.isfinite(number):
            raise ValueError(f"{_at(path, key)} is not a finite number")
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "struct_value":
        return from_struct(value.struct_value, _at(path, key))
    if kind == "list_value":
        here = _at(path, key)
        return [_read(item, here, index) for index, item in enumerate(value.list_value.values)]
    if kind == "bool_value":
        return value.bool_value
    if kind == "null_value":
        return None
    raise ValueError(f"{_at(path, key)} has no value set")


def _at(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
