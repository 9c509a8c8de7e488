"""JSON objects of every size, depth and strangeness: what was taken can be read back, and what cannot be is refused."""

import asyncio
import math
from random import Random
from typing import Any, Final

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct

from doubletext.structs import from_struct
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext_server.grpc.edge import LARGEST_REQUEST
from tests.robustness.fuzz.answers import reason_of
from tests.robustness.fuzz.spoilt_requests import struct
from tests.robustness.fuzz.test_messages import path_of
from tests.support.requests import Scene
from tests.support.wire import Wire, framed

DEEPEST: Final = 30
"""As the docs say."""
ROUNDS: Final = 20
AT_ONCE: Final = 10


def fits(value: Any, depth: int = 1) -> bool:
    """Whether a Struct, a ListValue or a Value in them is JSON of at most DEEPEST levels."""
    if isinstance(value, Struct):
        return depth <= DEEPEST and all(fits(each, depth) for each in value.fields.values())
    if isinstance(value, ListValue):
        return depth <= DEEPEST and all(fits(each, depth) for each in value.values)
    kind = value.WhichOneof("kind")
    if kind in ("struct_value", "list_value"):
        return fits(getattr(value, kind), depth + 1)
    return kind is not None and (kind != "number_value" or math.isfinite(value.number_value))


async def asked(wire: Wire, method: str, message: bytes) -> tuple[str, bytes]:
    reply = await wire.ask(wire.headers(path_of(method)), framed(message))
    return reason_of(reply), reply.message


async def kept(wire: Wire, thread_id: str, given: Struct) -> list[Struct]:
    """Give the object away wherever a thread has one, and read it back everywhere; nothing when it was refused."""
    create = tpb.CreateThreadRequest(thread_id=thread_id, metadata=given)
    reason, _ = await asked(wire, "CreateThread", create.SerializeToString())
    if reason != "OK":
        assert reason == "INVALID_FIELD"
        return []
    update = tpb.UpdateStateRequest(thread_id=thread_id, values=given).SerializeToString()
    answers = {
        "UpdateState": await asked(wire, "UpdateState", update),
        "GetState": await asked(wire, "GetState", tpb.GetStateRequest(thread_id=thread_id).SerializeToString()),
        "GetThread": await asked(wire, "GetThread", tpb.GetThreadRequest(thread_id=thread_id).SerializeToString()),
    }
    assert {reason for reason, _ in answers.values()} == {"OK"}
    listed = tpb.ListThreadsRequest(metadata=given).SerializeToString()
    reason, page = await asked(wire, "ListThreads", listed)
    assert reason == "OK"
    assert thread_id in [thread.thread_id for thread in tpb.ListThreadsResponse.FromString(page).threads]
    return [
        tpb.UpdateStateResponse.FromString(answers["UpdateState"][1]).state.values,
        tpb.GetStateResponse.FromString(answers["GetState"][1]).state.values,
        tpb.GetThreadResponse.FromString(answers["GetThread"][1]).thread.metadata,
    ]


async def test_an_object_that_is_taken_can_be_read_back_and_found_by(scene: Scene, wire: Wire) -> None:
    seen = set()
    for number in range(ROUNDS):
        rng, objects = Random(number), [Struct() for _ in range(AT_ONCE)]
        for each in objects:
            struct(rng, each, unfit=0.1)
            each.fields.pop("messages", None)  # the reducer's: a list whatever it was
        answers = await asyncio.gather(*(kept(wire, f"s{number}.{n}", each) for n, each in enumerate(objects)))
        for given, read_back in zip(objects, answers, strict=True):
            assert bool(read_back) == fits(given), (number, given)
            assert all(from_struct(each) == from_struct(given) for each in read_back), (number, given)
            seen.add(bool(read_back))
    assert seen == {True, False}


# An object in an object in an object …, made of bytes: no library makes as many levels as these.


def nested(depth: int, *, of_lists: bool = False) -> bytes:
    data = b""
    for _ in range(depth - 1):
        if of_lists:
            data = sized(b"\x0a", sized(b"\x32", data))  # ListValue.values of Value.list_value
        else:
            data = sized(b"\x0a", b"\x0a\x01a" + sized(b"\x12", sized(b"\x2a", data)))  # Struct.fields, the key a
    return data if not of_lists else sized(b"\x0a", b"\x0a\x01a" + sized(b"\x12", sized(b"\x32", data)))


def sized(tag: bytes, data: bytes) -> bytes:
    length, size = len(data), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return tag + bytes([*size, length]) + data


def changing(data: bytes) -> bytes:
    """UpdateState of the thread `t`, its values given as bytes."""
    return b"\x0a\x01t" + sized(b"\x12", data)


@pytest.mark.parametrize("of_lists", [False, True])
async def test_depth_is_refused_from_the_31st_level_on_however_deep(scene: Scene, wire: Wire, of_lists: bool) -> None:
    for depth in (1, 2, 29, 30, 31, 32, 33, 34, 49, 50, 99, 100, 101, 1000, 10_000):
        levels = depth - 1 if of_lists else depth  # the list's own object is one of them
        if levels:
            reason, _ = await asked(wire, "UpdateState", changing(nested(levels, of_lists=of_lists)))
            assert reason == ("OK" if depth <= DEEPEST else "INVALID_FIELD"), depth
            reason, _ = await asked(wire, "GetState", tpb.GetStateRequest(thread_id="t").SerializeToString())
            assert reason == "OK"


@pytest.mark.parametrize("shape", ["one text", "many keys", "many items"])
async def test_size_is_refused_from_the_limit_on_whatever_it_is_made_of(scene: Scene, wire: Wire, shape: str) -> None:
    item = b"\x0a\x02\x20\x01"  # a Value true, in a list
    room = LARGEST_REQUEST - 40

    def of(size: int) -> bytes:
        if shape == "one text":
            return sized(b"\x0a", b"\x0a\x01a" + sized(b"\x12", sized(b"\x1a", b"x" * size)))
        if shape == "many keys":
            return b"".join(b"\x0a\x0c\x0a\x06%06d\x12\x02\x20\x01" % number for number in range(size // 14))
        return sized(b"\x0a", b"\x0a\x01a" + sized(b"\x12", sized(b"\x32", item * (size // len(item)))))

    for size, expected in (
        (room // 8, "OK"),
        (LARGEST_REQUEST + 1000, "TOO_LARGE"),
        (5 * 1024 * 1024, "TOO_LARGE"),
    ):
        reason, _ = await asked(wire, "UpdateState", changing(of(size)))
        assert reason == expected, size
    state = tpb.GetStateRequest(thread_id="t").SerializeToString()
    assert (await asked(wire, "GetState", state))[0] == "OK"
