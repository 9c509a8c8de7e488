"""A JSON object is the same, and wrong for the same reasons, whether a face has it as text or as a Struct."""

import json
from typing import Any, Final

import pytest

from doubletext.jsontext import canonical
from doubletext.structs import to_struct
from doubletext.v1.run_service_pb2 import CreateRunRequest
from doubletext.v1.worker_service_pb2 import FinishRunRequest
from doubletext_server.grpc.wire import reading
from doubletext_server.usecases.values import EMPTY, JsonObject, json_object


def nested(levels: int, *, lists: bool = False) -> dict[str, Any]:
    """An object of so many levels, itself among them."""
    inner: Any = {}
    for _ in range(levels - 1):
        inner = [inner] if lists else {"a": inner}
    return inner if isinstance(inner, dict) else {"a": inner[0]}


def of_struct(given: dict[str, Any]) -> JsonObject:
    return reading.json_object(CreateRunRequest(input=to_struct(given)), "input")


def of_text(text: str) -> JsonObject:
    return reading.json_object(CreateRunRequest(input_json=text), "input")


SOUND: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "all kinds": {"t": "é", "n": None, "b": True, "l": [1, "a", [False]], "o": {"z": 1, "a": 2}},
    "keys out of order": {"b": 1, "a": {"d": 1, "c": 2}},
    "whole doubles": {"n": 1.0, "m": -0.0, "k": 2.5},
    "the last exact number": {"n": 2**53, "m": -(2**53)},
    "numbers beyond it": {"n": 2**53 + 2, "m": 1e300},
    "30 levels": nested(30),
}


@pytest.mark.parametrize("name", SOUND)
def test_an_object_has_one_canonical_text(name: str) -> None:
    given = SOUND[name]
    assert canonical(of_struct(given).text) == canonical(of_text(json.dumps(given)).text)
    assert of_struct(given).keys == of_text(json.dumps(given)).keys == len(given)


def test_the_sign_of_zero_is_kept_in_both_forms() -> None:
    assert of_struct({"z": -0.0}).text == '{"z":-0.0}'
    assert of_text('{"z":-0}').text == '{"z":-0}'


FAULTS: Final = {
    "no JSON": ("{", "input_json is no JSON: "),
    "no object": ("[1]", "input_json is a list; it must be an object"),
    "a key twice": ('{"a":1,"a":2}', "input_json has an object with the key 'a' twice"),
    "no number": ('{"a":NaN}', "input_json has NaN, which is no number of JSON"),
    "31 levels": (json.dumps(nested(31)), "input_json is nested deeper than 30 levels"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_text_is_said_in_terms_of_its_field(name: str) -> None:
    text, fault = FAULTS[name]
    assert of_text(text).fault.startswith(fault)
    assert of_text(text)[:2] == ("{}", 0)


def test_an_object_is_given_once() -> None:
    request = CreateRunRequest(input=to_struct({}), input_json="{}")
    assert reading.json_object(request, "input").fault == "input and input_json are both given; give one of them"


def test_an_empty_text_is_absent() -> None:
    assert reading.json_object(CreateRunRequest(), "input") == EMPTY
    assert reading.given_object(FinishRunRequest().success, "update") is None
    assert reading.given_object(CreateRunRequest(input_json="{}"), "input") == EMPTY


def test_a_face_names_its_own_field() -> None:
    assert json_object("[]", "the body").fault == "the body is a list; it must be an object"
