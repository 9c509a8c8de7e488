"""A JSON object is the same, and wrong for the same reasons, whether a face has it as Python values or as a Struct."""

import math
from typing import Any, Final

import pytest

from doubletext import misfits
from doubletext.structs import to_struct
from doubletext_server.grpc.wire import reading
from doubletext_server.usecases import values
from doubletext_server.usecases.values import json_object


def nested(levels: int, *, lists: bool = False) -> dict[str, Any]:
    """An object of so many levels, itself among them."""
    inner: Any = {}
    for _ in range(levels - 1):
        inner = [inner] if lists else {"a": inner}
    return inner if isinstance(inner, dict) else {"a": inner[0]}


SOUND: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "all kinds": {"t": "é", "n": None, "b": True, "l": [1, "a", [False]], "o": {"z": 1, "a": 2}},
    "keys out of order": {"b": 1, "a": {"d": 1, "c": 2}},
    "whole doubles": {"n": 1.0, "m": -0.0, "k": 2.5},
    "the last exact number": {"n": 2**53, "m": -(2**53)},
    "numbers that are no longer exact": {"n": 2**53 + 2, "m": 1e300},
    "30 levels": nested(30),
}


@pytest.mark.parametrize("name", SOUND)
def test_an_object_has_one_text(name: str) -> None:
    given = SOUND[name]
    assert json_object(given, "input") == reading.json_object(to_struct(given), "input")
    assert json_object(given, "input").keys == len(given)


def test_an_object_may_be_as_deep_in_all_faces() -> None:
    assert values.DEEPEST == misfits.DEEPEST
    fault = json_object(nested(31), "input").fault
    assert fault.startswith("input.a.a")
    assert fault.endswith("is nested deeper than 30 levels")


FAULTS: Final[dict[str, tuple[dict[Any, Any], str]]] = {
    "no number": ({"a": [{"b": math.nan}]}, "input.a[0].b is not a finite number"),
    "infinite": ({"a": -math.inf}, "input.a is not a finite number"),
    "too large for a double": ({"a": 10**400}, "input.a is not a finite number"),
    "a key that is no text": ({"a": {1: 2}}, "input.a has a key that is no string: 1"),
    "no JSON": ({"a": b"x"}, "input.a is a bytes, which JSON has no form for"),
    "a long key": ({"k" * 50: math.nan}, f"input.{'k' * 40} is not a finite number"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_an_object_names_the_place(name: str) -> None:
    given, fault = FAULTS[name]
    assert json_object(given, "input") == ("{}", len(given), fault)
