"""Requests made of a seed: fields filled with what is good and what is on the edge, and then bytes that are spoilt."""

import math
from collections.abc import Callable
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from tests.support.request_fields import is_map
from tests.support.requests import Scene

IDS: Final = ("t", "other", "remote", "echo", "new", "x" * 128, "x" * 129, "", "a b", "../t", "é", "\0", "%s{x}", "a\n")
NUMBERS: Final = (0, 1, 2, 3, 30, 100, 1000, 1001, -1, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63))
NANOS: Final = (0, 1, 500, 999_999_999, 1_000_000_000, -1, -999_999_999, 2**31 - 1, -(2**31))
DOUBLES: Final = (0.0, 1.0, -1.5, 2.0**53, 2.0**53 + 2, 5e-324, 1.7976931348623157e308, 0.1, -1e-7)
UNFIT: Final = (math.nan, math.inf, -math.inf)
TEXTS: Final = (
    "",
    "a",
    "id",
    "messages",
    "\0",
    "a\0b",
    "\uffff",
    "\U0010ffff",
    "\u2028",
    "\\u0000",
    '"',
    "$.a",
    "é" * 9,
)


def value(rng: Random, made: Value, depth: int, unfit: float) -> None:
    """Fill in any value; with the chance `unfit`, one that is no JSON."""
    kind = rng.random()
    if rng.random() < unfit:
        if kind < 0.5:
            made.number_value = rng.choice(UNFIT)
        return
    if kind < 0.35:
        made.string_value = rng.choice(TEXTS) * rng.choice((1, 1, 50))
    elif kind < 0.6:
        made.number_value = rng.choice(DOUBLES)
    elif kind < 0.65:
        made.bool_value = rng.random() < 0.5
    elif kind < 0.7:
        made.null_value = NULL_VALUE
    elif kind < 0.85:
        made.struct_value.SetInParent()
        struct(rng, made.struct_value, depth - 1, unfit)
    else:
        made.list_value.SetInParent()
        _items(rng, made.list_value, depth - 1, unfit)


def struct(rng: Random, made: Struct, depth: int = 4, unfit: float = 0.0) -> None:
    made.SetInParent()
    for _ in range(rng.randrange(4) if depth > 0 else 0):
        value(rng, made.fields[rng.choice(TEXTS)], depth, unfit)


def _items(rng: Random, made: ListValue, depth: int, unfit: float) -> None:
    for _ in range(rng.randrange(3) if depth > 0 else 0):
        value(rng, made.values.add(), depth, unfit)


def filled(rng: Random, scene: Scene, method: str) -> Any:
    """A good request of the method, some fields of which were filled with something else."""
    request = scene.good(method)
    for each in request.DESCRIPTOR.fields:
        if rng.random() < 0.3:
            _fill(rng, request, each)
    return request


def _fill(rng: Random, message: Any, each: FieldDescriptor) -> None:
    if is_map(each):
        getattr(message, each.name)[rng.choice(TEXTS)] = rng.randrange(-1, 9)
    elif each.message_type is not None:
        target = getattr(message, each.name)
        _fill_message(rng, target.add() if each.is_repeated else target)
    elif each.is_repeated:
        getattr(message, each.name).append(_scalar(rng, each))
    else:
        setattr(message, each.name, _scalar(rng, each))


def _fill_message(rng: Random, target: Any) -> None:
    target.SetInParent()
    if isinstance(target, Struct):
        struct(rng, target, unfit=rng.choice((0, 0, 0.3)))
    elif target.DESCRIPTOR.full_name == "google.protobuf.Duration":
        target.seconds, target.nanos = rng.choice(NUMBERS), rng.choice(NANOS)
    else:
        for each in target.DESCRIPTOR.fields:
            if rng.random() < 0.3:
                _fill(rng, target, each)


def _scalar(rng: Random, each: FieldDescriptor) -> Any:
    if each.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice(IDS)
    if each.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if each.cpp_type == FieldDescriptor.CPPTYPE_INT64:
        return rng.choice(NUMBERS)
    return rng.choice([number for number in NUMBERS if -(2**31) <= number < 2**31])


def _at(rng: Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def flipped(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    spoilt = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def inserted(rng: Random, data: bytes) -> bytes:
    at = _at(rng, data)
    return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]


def cut_out(rng: Random, data: bytes) -> bytes:
    at = _at(rng, data)
    return data[:at] + data[at + rng.randrange(1, 9) :]


def no_text(rng: Random, data: bytes) -> bytes:
    """What was a letter is no UTF-8."""
    letters = [at for at, byte in enumerate(data) if 0x61 <= byte <= 0x7A]
    if not letters:
        return data
    at = rng.choice(letters)
    return data[:at] + rng.choice((b"\xff", b"\xc0", b"\x80", b"\xed")) + data[at + 1 :]


# Fields that nobody asked for: unknown ones, numbers that are too long, groups, groups in groups, field 0.
ODDITIES: Final = (
    *(b"\xf8\x3f\x05", b"\xfa\x3f\x03abc", b"\x08" + b"\xff" * 9 + b"\x01", b"\x08" + b"\xff" * 11, b"\x0b\x0c"),
    *(b"\x0b", b"\x0c", b"\x0b" * 50 + b"\x0c" * 50, b"\x0b" * 5000, b"\x00\x00", b"\x0e", b"\x0d\x00\x00\x00\x00"),
    *(b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\x0f\x00"),
)

SPOIL: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    flipped,
    inserted,
    cut_out,
    no_text,
    lambda rng, data: data[: _at(rng, data)],
    lambda rng, data: data + data,
    lambda rng, data: data + rng.choice(ODDITIES),
    lambda rng, data: rng.choice(ODDITIES) + data,
    lambda rng, data: rng.randbytes(rng.randrange(60)),
)
"""Ways to spoil a message's bytes; it may be a message all the same afterwards."""
