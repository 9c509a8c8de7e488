"""The types of values that a face passes to a use case, beside texts and numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from doubletext_server.json_text import dump
from doubletext_statemachine.model import Json

T = TypeVar("T")

DEEPEST: Final = 30
"""How deep objects and lists may be nested. Each face must be able to show what another face accepted, and protobuf
reads no deeper."""
_EXACT: Final = 2**53


@dataclass(slots=True, frozen=True)
class Unreadable:
    """Stands for a value that the face could not read. `why` says to the caller what is wrong with the field."""

    why: str


Given: TypeAlias = T | Unreadable


class Unchanged(Enum):
    """Stands for a setting that an update leaves as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class JsonObject(NamedTuple):
    """A JSON object that a face has read.

    text   the object as `json_text.dump` writes it; "{}" for an object with a fault
    keys   how many keys the object has at its top level
    fault  what is wrong with the object; empty when nothing is
    """

    text: Json
    keys: int
    fault: str = ""


EMPTY: Final = JsonObject("{}", 0)


def json_object(values: Mapping[str, Any], field: str) -> JsonObject:
    """Return a JSON object that a face has as Python values. `field` is the field's name in the fault.

    Numbers are doubles, as in all faces: a whole number within ±2^53 becomes an int, every other number a float.
    """
    try:
        return JsonObject(dump(_sound(values, (field,))), len(values))
    except ValueError as error:
        return JsonObject("{}", len(values), str(error))


_Path: TypeAlias = tuple[str | int, ...]


def _sound(value: Any, path: _Path) -> Any:
    if isinstance(value, (dict, list)) and len(path) > DEEPEST:
        raise ValueError(f"{_shown(path)} is nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        return {_key(key, path): _sound(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_sound(item, (*path, index)) for index, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return _number(value, path)
    raise ValueError(f"{_shown(path)} is a {type(value).__name__}, which JSON has no form for")


def _key(key: Any, path: _Path) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{_shown(path)} has a key that is no string: {key!r}")
    return key


def _number(value: float, path: _Path) -> float:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise ValueError(f"{_shown(path)} is not a finite number")
    return int(double) if double.is_integer() and abs(double) <= _EXACT else double


def _shown(path: _Path) -> str:
    """Return the place of a value, for people. Long keys are shortened."""
    field, *keys = path
    return str(field) + "".join(f"[{key}]" if isinstance(key, int) else f".{key[:40]}" for key in keys)
