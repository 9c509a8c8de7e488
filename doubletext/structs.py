"""Turn JSON objects into google.protobuf.Struct and back.

Struct has one kind of number, the double. A whole number within ±2^53 comes back as an int, every other number as a
float. What a Struct cannot hold exactly is refused: a number that is neither a double nor one's shortest text, and half
a surrogate pair.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from doubletext.jsontext import EXACT_INTEGERS, Number
from doubletext.misfits import DEEPEST, TOO_DEEP, Misfit

_HALF: Final = "has half a surrogate pair, which protobuf cannot carry"
_NO_DOUBLE: Final = "is a number that no double is exactly"


def to_struct(values: Mapping[str, Any]) -> Struct:
    """Return `values`, a JSON object, as a Struct.

    Raises TypeError for a value that JSON does not have. Raises ValueError for a value that a Struct cannot hold
    exactly, and for more than DEEPEST levels. Both errors name the place of the value.
    """
    struct = Struct()
    try:
        fill_struct(struct, values)
    except Misfit as misfit:
        raise misfit.error("") from None
    return struct


def fill_struct(struct: Struct, values: Mapping[str, Any]) -> None:
    """Set `values` in an empty Struct. Raises Misfit for what `to_struct` raises errors for."""
    _fill_object(struct, values, 1)


def _fill_object(struct: Struct, values: Mapping[str, Any], depth: int) -> None:
    if depth > DEEPEST:
        raise Misfit(ValueError, TOO_DEEP)
    fields = struct.fields
    for key, value in values.items():
        if type(key) is not str:
            raise Misfit(TypeError, f"has a key that is no string: {key!r}")
        try:
            _fill(_field(fields, key), value, depth)
        except Misfit as misfit:
            misfit.keys.append(key)
            raise


def _field(fields: Any, key: str) -> Value:
    try:
        value: Value = fields[key]
    except ValueError:
        raise Misfit(ValueError, _HALF) from None
    return value


def _fill(target: Value, value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str:
        try:
            target.string_value = value
        except ValueError:
            raise Misfit(ValueError, _HALF) from None
    elif kind is int or kind is float:
        target.number_value = _double(value)
    elif kind is bool:
        target.bool_value = value
    elif value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        _fill_object(target.struct_value, value, depth + 1)
    elif isinstance(value, (list, tuple)):
        target.list_value.SetInParent()
        _fill_list(target.list_value, value, depth + 1)
    elif isinstance(value, (str, int, float)):  # subclasses: string enums, numpy's floats
        _fill(target, _plain(value), depth)
    elif isinstance(value, (Decimal, Number)):
        raise Misfit(ValueError, _NO_DOUBLE)
    else:
        raise Misfit(TypeError, f"is a {kind.__name__}, which JSON has no form for")


def _fill_list(target: ListValue, values: Sequence[Any], depth: int) -> None:
    if depth > DEEPEST:
        raise Misfit(ValueError, TOO_DEEP)
    add = target.values.add
    for index, value in enumerate(values):
        try:
            _fill(add(), value, depth)
        except Misfit as misfit:
            misfit.keys.append(index)
            raise


def _plain(value: str | int | float) -> str | int | float:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise AssertionError(value)


def _double(value: float) -> float:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise Misfit(ValueError, "is not a finite number")
    if double != value and Decimal(repr(double)) != value:
        raise Misfit(ValueError, _NO_DOUBLE)
    return double


def from_struct(struct: Struct, path: str = "") -> dict[str, Any]:
    """Return a Struct as a JSON object.

    Raises ValueError for a number that is not finite, for a value without a kind, and for more than DEEPEST levels. The
    error names the place of the value, beginning with `path`.
    """
    try:
        return _read_object(struct, 1)
    except Misfit as misfit:
        raise misfit.error(path) from None


def _read_object(struct: Struct, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise Misfit(ValueError, TOO_DEEP)
    fields, found = struct.fields, {}
    for key in fields:
        try:
            found[key] = _read(fields[key], depth)
        except Misfit as misfit:
            misfit.keys.append(key)
            raise
    return found


def _read(value: Value, depth: int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = _double(value.number_value)
        if not number:
            return -0.0 if math.copysign(1, number) < 0 else 0
        return int(number) if number.is_integer() and abs(number) <= EXACT_INTEGERS else number
    if kind == "struct_value":
        return _read_object(value.struct_value, depth + 1)
    if kind == "list_value":
        return _read_list(value.list_value, depth + 1)
    if kind == "bool_value":
        return value.bool_value
    if kind == "null_value":
        return None
    raise Misfit(ValueError, "has no value set")


def _read_list(values: ListValue, depth: int) -> list[Any]:
    if depth > DEEPEST:
        raise Misfit(ValueError, TOO_DEEP)
    found: list[Any] = []
    for value in values.values:
        try:
            found.append(_read(value, depth))
        except Misfit as misfit:
            misfit.keys.append(len(found))
            raise
    return found
