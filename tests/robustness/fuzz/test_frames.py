"""Frames that lie, stop half way, or are none. A stream or a connection may end of it, the server may not."""

import asyncio
import gzip
from random import Random
from typing import Final

import pytest

from tests.robustness.fuzz.answers import malformed, reason_of
from tests.robustness.fuzz.test_headers import GET, PATH, connection, refused_by_the_transport
from tests.robustness.fuzz.test_messages import PATIENCE
from tests.support.held_resources import at_rest, let_go
from tests.support.requests import Scene
from tests.support.wire import SECONDS, Header, Wire, framed

GZIP: Final[Header] = (b"grpc-encoding", b"gzip")

# What is sent as the message, and the statuses that it may be answered with: OK 0, CANCELLED 1, DEADLINE_EXCEEDED 4,
# RESOURCE_EXHAUSTED 8, INTERNAL 13. gRPC never answers a call that ends before its message does, but at its deadline.
BODIES: Final[dict[str, tuple[bytes, set[int]]]] = {
    "compressed, it says": (framed(b"abc", flag=1), {13}),
    "longer, it says, than it is": (framed(b"abc", length=100), {1, 4, 13}),
    "longer than all that is taken": (framed(b"abc", length=33 << 20), {8}),
    "four gigabytes": (framed(b"abc", length=2**32 - 1), {8}),
    "half a prefix": (b"\0\0", {1, 4, 13}),
    "nothing": (b"", {1, 4, 13}),
    "two messages": (GET + GET, {0, 13}),
    "a message and a half": (GET + GET[:-1], {0, 13}),
}
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS: Final = b"\0\0\0\x04\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PING: Final = frame(6, 0, 0, b"are you ")
STREAMS: Final[dict[str, bytes]] = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a1030300"),
    "half a preface": PREFACE[:10],
    "a preface and noise": PREFACE + b"\xff" * 200,
    "no settings": PREFACE + frame(1, 5, 1, b"\x82"),
    "many settings": PREFACE + SETTINGS * 1000,
    "settings of nonsense": PREFACE + frame(4, 0, 0, b"\0\x05\xff\xff\xff\xff" + b"\0\x04\xff\xff\xff\xff"),
    "settings on a stream": PREFACE + frame(4, 0, 1, b""),
    "many pings": PREFACE + SETTINGS + PING * 1000,
    "an empty window update": PREFACE + SETTINGS + frame(8, 0, 0, b"\0\0\0\0"),
    "a window that overflows": PREFACE + SETTINGS + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "data on no stream": PREFACE + SETTINGS + frame(0, 0, 0, b"abc"),
    "data on a stream that was not begun": PREFACE + SETTINGS + frame(0, 1, 5, b"abc"),
    "headers that do not unpack": PREFACE + SETTINGS + frame(1, 5, 1, b"\xff" * 40),
    "a continuation of nothing": PREFACE + SETTINGS + frame(9, 4, 1, b""),
    "continuations without an end": PREFACE + SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x83") * 500,
    "an even stream": PREFACE + SETTINGS + frame(1, 5, 2, b"\x83"),
    "a frame that is too long": PREFACE + SETTINGS + frame(0, 0, 1, b"", length=2**24 - 1),
    "a push": PREFACE + SETTINGS + frame(5, 4, 1, b"\0\0\0\x02\x82"),
    "a goodbye": PREFACE + SETTINGS + frame(7, 0, 0, b"\0" * 8),
    "a stream that depends on itself": PREFACE + SETTINGS + frame(2, 0, 1, b"\0\0\0\x01\x10"),
    "resets of nothing": PREFACE + SETTINGS + frame(3, 0, 1, b"\0\0\0\x08") * 100,
    "a kind that nobody knows": PREFACE + SETTINGS + frame(99, 255, 7, b"abc"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_message_that_is_none_ends_its_own_call_at_most(scene: Scene, name: str) -> None:
    body, statuses = BODIES[name]
    async with connection(scene) as wire:
        reply = await wire.ask(wire.headers(PATH, PATIENCE), body)
        assert refused_by_the_transport(reply) or (malformed(reply) == [] and reply.status in statuses), reply.trailers
        assert reason_of(await wire.ask(wire.headers(PATH), GET)) == "OK"


async def test_what_says_it_is_packed_and_is_not_or_is_far_more_is_refused(scene: Scene) -> None:
    async with connection(scene) as wire:
        for message in (b"no gzip", gzip.compress(b"\0" * (40 << 20)), gzip.compress(GET)[:-9]):
            reply = await wire.ask(wire.headers(PATH, GZIP), framed(message, flag=1))
            assert malformed(reply) == []
            assert reply.status in (8, 13)
        packed = await wire.ask(wire.headers(PATH, GZIP), framed(gzip.compress(GET[5:]), flag=1))
        assert reason_of(packed) == "OK"


async def test_streams_that_are_reset_at_any_byte_leave_nothing(scene: Scene) -> None:
    async with connection(scene) as wire:
        for length in range(len(GET) + 1):
            stream = wire.begin(wire.headers(PATH))
            await wire.send(stream, GET[:length], end=False)
            wire.reset(stream)
        assert reason_of(await wire.ask(wire.headers(PATH), GET)) == "OK"


async def test_many_streams_at_once_are_all_answered(scene: Scene) -> None:
    async with connection(scene) as wire:
        streams = [wire.begin(wire.headers(PATH)) for _ in range(90)]
        await asyncio.gather(*(wire.send(stream, GET) for stream in streams))
        replies = await asyncio.gather(*(wire.reply(stream) for stream in streams))
    assert {reason_of(reply) for reply in replies} == {"OK"}


async def told(address: str, data: bytes) -> bytes:
    """What the server says to these bytes, until it has answered a ping or nothing more comes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        writer.write(data + PING)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            while more := await reader.read(65536):
                answer += more
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


async def test_bytes_that_are_no_http2_end_their_own_connection_at_most(scene: Scene) -> None:
    address, before = scene.service.app.address, await at_rest(scene.service)
    noise = {f"noise {seed}": PREFACE + SETTINGS + Random(seed).randbytes(300) for seed in range(20)}
    await asyncio.gather(*(told(address, data) for data in (STREAMS | noise).values()))
    await let_go(scene.service, before)
    wire = await Wire.open(address)
    assert reason_of(await wire.ask(wire.headers(PATH), GET)) == "OK"
    await wire.close()
