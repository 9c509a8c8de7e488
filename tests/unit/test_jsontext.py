"""JSON to the letter: what is kept, what is compared, and what is refused."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubletext.jsontext import LONGEST_NUMBER, MOST_VALUES, canonical, checked, dumps, loads, read, written
from doubletext.misfits import DEEPEST

ODD = (
    '{"b":1.0e5,"a":[9007199254740993,18446744073709551616,1e400,0.1,-0,-0.0,1E-7,1e9999999999999999999],'
    '"":"\\ud800 , : x\\u0000","é":null}'
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
json_objects = st.dictionaries(st.text(), json_values)


def test_numbers_keys_and_strings_are_kept_to_the_letter() -> None:
    assert checked(ODD).text == ODD
    assert written(read(ODD)) == ODD


def test_the_keys_at_the_top_are_counted() -> None:
    assert checked('{"a":{"b":1,"c":2},"d":[]}').keys == 2


def test_white_space_goes_around_the_parts_and_stays_in_strings() -> None:
    assert checked(' {\n "a b" :\t[ 1 , "x , \\" y" ] }\r\n').text == '{"a b":[1,"x , \\" y"]}'


def test_a_program_gets_ints_exact_floats_and_decimals() -> None:
    found = loads('{"a":[9007199254740993,1e400,0.1,1.0e5,-0,0.12345678901234567890123,7]}')["a"]
    assert [(type(value), str(value)) for value in found] == [
        (int, "9007199254740993"),
        (Decimal, "1E+400"),
        (float, "0.1"),
        (float, "100000.0"),
        (float, "-0.0"),
        (Decimal, "0.12345678901234567890123"),
        (int, "7"),
    ]
    assert loads(dumps({"a": found})) == {"a": found}


@given(json_objects)
def test_what_a_program_gives_comes_back(values: dict[str, object]) -> None:
    text = dumps(values)
    assert checked(text).text == text
    assert json.dumps(loads(text)) == json.dumps(json.loads(json.dumps(values)))
    assert written(read(text)) == text


@given(json_objects)
def test_the_canonical_text_is_its_own_and_knows_no_order(values: dict[str, object]) -> None:
    text = dumps(values)
    assert canonical(canonical(text)) == canonical(text)
    assert canonical(dumps(dict(reversed(values.items())))) == canonical(text)


@pytest.mark.parametrize(
    "equal",
    [
        ("100000", "1e5", "1.0E+5", "100000.000"),
        ("0", "-0", "0.0", "-0e7"),
        ("9007199254740993", "9007199254740993.0", "9.007199254740993e15"),
        ("1e400", "10e399", "0.1e401"),
        ("10000000000000000000000", "1e22"),
        ('"\\u0061"', '"a"'),
    ],
)
def test_equal_values_have_one_canonical_text(equal: tuple[str, ...]) -> None:
    assert len({canonical(f'{{"a":{text}}}') for text in equal}) == 1


def test_numbers_that_share_a_double_are_told_apart() -> None:
    assert canonical('{"a":9007199254740993}') != canonical('{"a":9007199254740992}')


def test_the_canonical_text_of_doubles_is_that_of_older_files() -> None:
    values = {"b": [1, 2.5, 1e22, 0.1], "a": {"z": "é", "y": None}}
    assert canonical(dumps(values)) == json.dumps(values, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a":1,"a":1}', "the key 'a' twice"),
        ('{"a":{"\\u0062":1,"b":1}}', "the key 'b' twice"),
        ("[1]", "is a list"),
        ("1", "neither an object"),
        ('{"a":NaN}', "NaN"),
        ('{"a":-Infinity}', "-Infinity"),
        ('{"a":01}', "is no JSON"),
        ("", "is no JSON"),
        ('{"a":' + "1" * (LONGEST_NUMBER + 1) + "}", f"has a number of {LONGEST_NUMBER + 1} characters"),
        ('{"a":1.' + "1" * LONGEST_NUMBER + "}", f"has a number of {LONGEST_NUMBER + 2} characters"),
        ('{"a":' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), "nested deeper"),
        ('{"a":' + "[" * 100_000, "nested deeper"),
        ('{"a":[' + "1," * MOST_VALUES + "1]}", "more than"),
    ],
)
def test_what_is_no_object_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        checked(text)


def test_the_longest_number_and_a_long_text_of_digits_are_taken() -> None:
    text = '{"a":' + "1" * LONGEST_NUMBER + ',"b":"' + "1" * 10_000 + '"}'
    assert checked(text).text == text
    assert written(read(text)) == text
    assert dumps(loads(text)) == text


@pytest.mark.parametrize(
    ("values", "error", "problem"),
    [
        ({"a": [1, {"b": float("nan")}]}, ValueError, r"a\[1\]\.b is not a finite number"),
        ({"a": Decimal("Infinity")}, ValueError, "a is not a finite number"),
        ({"a": {1: 2}}, TypeError, "a has a key that is no string: 1"),
        ({"a": {1, 2}}, TypeError, "a is a set"),
        ({"a": b"x"}, TypeError, "a is a bytes"),
        ({"a": 10**LONGEST_NUMBER}, ValueError, "a is a number of more than"),
    ],
)
def test_a_value_that_json_lacks_is_refused_with_its_place(
    values: dict[str, object], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        dumps(values)
