"""JSON as text, to the letter: numbers keep their texts, and objects the order of their keys.

Three forms of one object:

    text       what is sent and stored: compact, without white space around its parts
    values     what programs get: `loads` and `dumps`. A number is an int, a float where that is exact, else a Decimal.
    canonical  what is compared and digested: keys sorted, numbers by their value. Equal objects have equal texts.

In between, `read` keeps each number as it was written, for those who only move values about.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from doubletext.misfits import DEEPEST, TOO_DEEP, Misfit

Text: TypeAlias = str

MOST_VALUES: Final = 250_000
"""How many values one object may have, at all depths."""
LONGEST_NUMBER: Final = 4300
"""Characters. Python reads no longer numbers: to convert one takes time that grows with the square of its length."""
EXACT_INTEGERS: Final = 2**53
"""Up to this, each whole number is a double, and is written as an integer where it was read from a double."""

_LONG_NUMBER: Final = re.compile(rf"[-+.eE0-9]{{{LONGEST_NUMBER + 1}}}")
_MINUS_ZERO: Final = re.compile(r"-0(?![.0-9eE])")
_STRINGS_AND_SPACES: Final = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\n\r]+')
_NESTED: Final = frozenset((dict, list))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Number:
    """A number that neither int nor float can write as it was written: `text`."""

    __slots__ = ("text",)

    def __init__(self, text: Text) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Unwritable(Exception):
    """The encoder met a value that it does not know, such as a Number."""


# Reading


class Checked(NamedTuple):
    """A JSON object's text without white space around its parts, and how many keys the object has at its top level."""

    text: Text
    keys: int


def checked(text: Text) -> Checked:
    """Check the text of a JSON object from outside.

    Raises ValueError for anything but one JSON object, for a key that an object has twice, for more than DEEPEST levels
    or MOST_VALUES values, and for a number of more than LONGEST_NUMBER characters.
    """
    outside = _outside_strings(text)
    if not isinstance(found := _parsed(text, outside), dict):
        raise ValueError(f"is {_kind(found)}; it must be an object")
    if _keys(found) != outside.count(":"):
        _SEEKING_TWICE(text)
    return Checked(text if outside.split() == [outside] else _compact(text), len(found))


def _outside_strings(text: Text) -> Text:
    """What a text has beside its strings; of a text that is no JSON, anything."""
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    return "".join(text.split('"')[::2])


def _compact(text: Text) -> Text:
    if "\\" in text:
        return _STRINGS_AND_SPACES.sub(r"\1", text)
    parts = text.split('"')
    parts[::2] = ["".join(part.split()) for part in parts[::2]]
    return '"'.join(parts)


def _parsed(text: Text, outside: Text) -> Any:
    long = len(outside) > LONGEST_NUMBER and _LONG_NUMBER.search(outside)
    try:
        return (_MEASURING_NUMBERS if long else _QUICK)(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "null" if value is None else "neither an object nor a list"


def _keys(value: dict[str, Any]) -> int:
    """Count the keys of an object and of all in it. Raises ValueError for too many values or levels."""
    level: list[Any] = [value]
    depth, values, keys = 0, 0, 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        below: list[Any] = []
        for each in level:
            values += len(each)
            if type(each) is dict:
                keys += len(each)
                below += [item for item in each.values() if type(item) in _NESTED]
            else:
                below += [item for item in each if type(item) in _NESTED]
        if values > MOST_VALUES:
            raise ValueError(f"has more than {MOST_VALUES} values")
        level = below
    return keys


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a key that an object has twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys: set[str] = set()
        twice = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"has an object with the key {twice[:40]!r} twice")
    return found


def _short_number(text: Text) -> Text:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"has a number of {len(text)} characters; it may have {LONGEST_NUMBER}")
    return text


def _no_number(text: str) -> Any:
    raise ValueError(f"has {text}, which is no number of JSON")


def _decoder(
    parse_int: Callable[[str], Any], parse_float: Callable[[str], Any], *, unique: bool = False
) -> Callable[[Text], Any]:
    return json.JSONDecoder(
        parse_int=parse_int,
        parse_float=parse_float,
        parse_constant=_no_number,
        object_pairs_hook=_object if unique else None,
    ).decode


_QUICK: Final = _decoder(str, str)
_MEASURING_NUMBERS: Final = _decoder(_short_number, _short_number)
_SEEKING_TWICE: Final = _decoder(str, str, unique=True)


def read(text: Text) -> dict[str, Any]:
    """Read an object so that `dumps` writes it again as it was: a number that would change becomes a Number."""
    decode = _KEEPING_MINUS_ZERO if _MINUS_ZERO.search(text) else _KEEPING
    found: dict[str, Any] = decode(text)
    return found


def _kept_int(text: Text) -> int | Number:
    return Number(text) if text == "-0" else int(text)


def _kept_float(text: Text) -> float | Number:
    number = float(text)
    return number if repr(number) == text else Number(text)


_KEEPING: Final = _decoder(int, _kept_float)
_KEEPING_MINUS_ZERO: Final = _decoder(_kept_int, _kept_float)


def loads(text: Text) -> dict[str, Any]:
    """Read an object for a program: each number is an int, a float where that is exact, else a Decimal. -0 is -0.0.

    A number is exact when its decimal value is that of the nearest double, or of that double's shortest text.
    """
    decode = _VALUES_WITH_MINUS_ZERO if _MINUS_ZERO.search(text) else _VALUES
    found: dict[str, Any] = decode(text)
    return found


def _value_of_int(text: Text) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _value_of_float(text: Text) -> float | Decimal | Number:
    number = float(text)
    if repr(number) == text or _is_exact(text, number):
        return number
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent of more than 18 digits
        return Number(text)


_VALUES: Final = _decoder(int, _value_of_float)
_VALUES_WITH_MINUS_ZERO: Final = _decoder(_value_of_int, _value_of_float)


def _is_exact(text: Text, number: float) -> bool:
    if not math.isfinite(number):
        return False
    value = _decimal(text)
    return value in (_decimal(repr(number)), _decimal(str(Decimal(number))))


def _decimal(text: Text) -> tuple[bool, str, int]:
    """A number's value: whether it is negative, its digits without zeros at the ends, and the exponent of the last."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-+").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not (short := digits.rstrip("0")):
        return False, "", 0
    return mantissa.startswith("-"), short, int(exponent or 0) - len(fraction) + len(digits) - len(short)


# Comparing


def canonical(text: Text) -> Text:
    """Return the text by which an object is compared: equal objects have equal texts, however they were written."""
    return _written(_CANONICAL(text), _SORTED)


def by_value(text: Text) -> dict[str, Any]:
    """Read an object so that equal numbers become equal: the double that a number is exactly, else a Number."""
    found: dict[str, Any] = _BY_VALUE(text)
    return found


def in_ascii(value: Any) -> Text:
    """Write what `by_value` has read: as text in ASCII, with sorted keys."""
    return _written(value, _ASCII)


def _number_by_value(text: Text) -> float | Number:
    number = float(text)
    if repr(number) == text or _is_exact(text, number):
        return number + 0.0  # no -0.0
    negative, digits, exponent = _decimal(text)
    return Number(f"{'-' * negative}{digits}e{exponent}")


def _canonical_number(text: Text) -> float | Number:
    number = _number_by_value(text)
    if isinstance(number, float) and number.is_integer() and abs(number) <= EXACT_INTEGERS:
        return int(number)
    return number


def _canonical_int(text: Text) -> float | Number:
    return int(text) if len(text) < 16 else _canonical_number(text)


_CANONICAL: Final = _decoder(_canonical_int, _canonical_number)
_BY_VALUE: Final = _decoder(_number_by_value, _number_by_value)


# Writing


def dumps(values: Mapping[str, Any]) -> Text:
    """Return `values`, a JSON object, as text. Decimals, Numbers and any Mapping, tuple, str, int or float will do.

    Raises TypeError for a value that JSON does not have. Raises ValueError for a number that is not finite or is too
    long, and for more than DEEPEST levels. Both errors name the place of the value.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"the object is a {type(values).__name__}; it must be a dict")
    try:
        _check_object(values, 1)
    except Misfit as misfit:
        raise misfit.error("") from None
    return written(values)


def written(values: Mapping[str, Any], *, sort: bool = False) -> Text:
    """Return an object as text, whose values are known to be JSON; see `dumps`. `sort`: by the keys."""
    return _written(values, _SORTED if sort else _PLAIN)


def shown(value: Any, *, ascii: bool = False) -> Text:
    """Write a value of JSON for people, with spaces between its parts."""
    return _written(value, _SPACED_ASCII if ascii else _SPACED)


class _Encoding:
    """Two encoders of the same output: json's, and a slower one for what that does not know."""

    def __init__(self, *, sort: bool, ascii: bool = False, comma: str = ",", colon: str = ":") -> None:
        def unknown(value: Any) -> Any:
            raise _Unwritable

        self.encode = json.JSONEncoder(
            separators=(comma, colon), sort_keys=sort, ensure_ascii=ascii, default=unknown, allow_nan=False
        ).encode
        self.sort, self.comma, self.colon = sort, comma, colon

    def parts(self, value: Any) -> Iterator[Text]:
        if isinstance(value, Number):
            yield value.text
        elif isinstance(value, Decimal):
            yield str(value)
        elif isinstance(value, Mapping):
            yield "{"
            for index, key in enumerate(sorted(value) if self.sort else value):
                yield f"{self.comma if index else ''}{self.encode(key)}{self.colon}"
                yield from self.parts(value[key])
            yield "}"
        elif isinstance(value, (list, tuple)):
            yield "["
            for index, item in enumerate(value):
                if index:
                    yield self.comma
                yield from self.parts(item)
            yield "]"
        else:
            yield self.encode(value)


_PLAIN: Final = _Encoding(sort=False)
_SORTED: Final = _Encoding(sort=True)
_ASCII: Final = _Encoding(sort=True, ascii=True)
_SPACED: Final = _Encoding(sort=False, comma=", ", colon=": ")
_SPACED_ASCII: Final = _Encoding(sort=False, ascii=True, comma=", ", colon=": ")


def _written(values: Any, encoding: _Encoding) -> Text:
    try:
        text = encoding.encode(values)
    except _Unwritable:
        text = "".join(encoding.parts(values))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which only JSON's own escape can carry
            text = _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    return text


_NOT_FINITE: Final = "is not a finite number"


def _check_object(values: Mapping[str, Any], depth: int) -> None:
    if depth > DEEPEST:
        raise Misfit(ValueError, TOO_DEEP)
    for key, value in values.items():
        if type(key) is not str:
            raise Misfit(TypeError, f"has a key that is no string: {key!r}")
        if type(value) is not str and value is not None:
            try:
                _check(value, depth)
            except Misfit as misfit:
                misfit.keys.append(key)
                raise


def _check(value: Any, depth: int) -> None:
    if isinstance(value, Mapping):
        _check_object(value, depth + 1)
    elif isinstance(value, (list, tuple)):
        if depth >= DEEPEST:
            raise Misfit(ValueError, TOO_DEEP)
        for index, item in enumerate(value):
            if type(item) is not str and item is not None:
                try:
                    _check(item, depth + 1)
                except Misfit as misfit:
                    misfit.keys.append(index)
                    raise
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Misfit(ValueError, _NOT_FINITE)
    elif isinstance(value, int):
        if value.bit_length() > 13_000 and len(_digits(value)) > LONGEST_NUMBER:
            raise Misfit(ValueError, f"is a number of more than {LONGEST_NUMBER} characters")
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise Misfit(ValueError, _NOT_FINITE)
        if len(str(value)) > LONGEST_NUMBER:
            raise Misfit(ValueError, f"is a number of more than {LONGEST_NUMBER} characters")
    elif not (value is None or isinstance(value, (str, Number))):
        raise Misfit(TypeError, f"is a {type(value).__name__}, which JSON has no form for")


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than Python converts
        return "9" * (LONGEST_NUMBER + 1)
