"""Header blocks that no gRPC client sends. What reaches this service is answered in its words, the rest by the
transport; either way the answer is well formed, and the server serves on. (The connection need not: what is wrong
with one block, gRPC may say of those that follow it too.)"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from doubletext.v1 import thread_service_pb2 as tpb
from tests.robustness.fuzz.answers import malformed, reason_of
from tests.robustness.fuzz.test_messages import path_of
from tests.support.held_resources import at_rest, let_go
from tests.support.requests import Scene
from tests.support.wire import Header, Reply, Wire, framed

GET: Final = framed(tpb.GetThreadRequest(thread_id="t").SerializeToString())
PATH: Final = path_of("GetThread")

# Of no consequence to a good request: it is answered all the same.
HARMLESS: Final[dict[str, tuple[Header, ...]]] = {
    "a long user agent": ((b"user-agent", b"x" * 2000),),
    "the same header often": ((b"x-same", b"1"),) * 50,
    "base64 without padding": ((b"x-a-bin", b"AAE"),),
    "empty binary": ((b"x-a-bin", b""),),
    "unknown accept-encoding": ((b"grpc-accept-encoding", b"bogus, \x80, ,,"),),
    "a subtype": ((b"content-type", b"application/grpc+proto"),),
    "a deadline far off": ((b"grpc-timeout", b"99999999H"),),
}

# Refused by the transport, or taken; of it we only ask that it stays well formed.
HOSTILE: Final[dict[str, tuple[Header, ...]]] = {
    "no base64": ((b"x-a-bin", b"!!!"),),
    "details of its own": ((b"grpc-status-details-bin", b"AAAA"), (b"grpc-status", b"0")),
    "headers too large": ((b"x-large", b"x" * 20_000),),
    "headers much too large": ((b"x-large", b"x" * 60_000),),
    "very many headers": tuple((b"x-%d" % number, b"y") for number in range(500)),
    **{
        f"timeout {value!r}": ((b"grpc-timeout", value),)
        for value in (b"", b"S", b"abc", b"-1S", b"1x", b"1.5S", b"123456789S", b"\xff", b"0n", b"1" * 400 + b"S")
    },
    **{f"content type {value!r}": ((b"content-type", value),) for value in (b"", b"text/html", b"application/json")},
    **{f"method {value!r}": ((b":method", value),) for value in (b"GET", b"PUT", b"", b"\x80", b"post")},
    **{f"te {value!r}": ((b"te", value),) for value in (b"", b"gzip", b"trailers, gzip")},
    **{f"scheme {value!r}": ((b":scheme", value),) for value in (b"", b"gopher")},
    **{f"authority {value!r}": ((b":authority", value),) for value in (b"", b"\xff", b"x" * 3000)},
    "an encoding that nobody knows": ((b"grpc-encoding", b"bogus"),),
    "an uppercase name": ((b"X-Upper", b"1"),),
    "an empty name": ((b"", b"1"),),
    "a name with a space": ((b"a b", b"1"),),
    "a line end in a value": ((b"x-a", b"1\r\nx-b: 2"),),
    "a zero in a value": ((b"x-a", b"1\0"),),
    "a header of HTTP/1": ((b"connection", b"close"), (b"transfer-encoding", b"chunked")),
    "a pseudo-header twice": ((b":path", PATH.encode()), (b":path", PATH.encode())),
    "a pseudo-header that nobody knows": ((b":who", b"me"),),
    "a length that is a lie": ((b"content-length", b"3"),),
    "reserved names": ((b"grpc-previous-rpc-attempts", b"-1"), (b"grpc-tags-bin", b"AA"), (b"grpc-trace-bin", b"/")),
}

PATHS: Final = (
    *(b"", b"/", b"//", b"*", b"doubletext.v1.ThreadService/GetThread", b"/doubletext.v1.ThreadService"),
    *(b"/doubletext.v1.ThreadService/", b"/doubletext.v1.ThreadService/getthread", b"/x" * 2000),
    *(PATH.encode() + tail for tail in (b"/", b"?a=b", b"\0", b"%00", b" ", b"/../GetThread")),
)


@asynccontextmanager
async def connection(scene: Scene) -> AsyncIterator[Wire]:
    """One of its own, after which the server must serve, and hold nothing."""
    before, wire = await at_rest(scene.service), await Wire.open(scene.service.app.address)
    try:
        yield wire
    finally:
        await wire.close()
    await scene.service.client.threads.get("t")
    await let_go(scene.service, before)


def refused_by_the_transport(reply: Reply) -> bool:
    """Without a status of gRPC: reset, or told in HTTP's own words."""
    told_by_http = [block for block in reply.headers if block.get(b":status", b"200") != b"200"]
    return reply.status is None and (reply.reset is not None or reply.gone or bool(told_by_http))


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_header_of_no_consequence_has_none(scene: Scene, name: str) -> None:
    async with connection(scene) as wire:
        assert reason_of(await wire.ask(wire.headers(PATH, *HARMLESS[name]), GET)) == "OK"


async def test_whatever_the_headers_say_the_answer_is_well_formed(scene: Scene) -> None:
    for name, headers in HOSTILE.items():
        async with connection(scene) as wire:
            reply = await wire.ask(wire.headers(PATH, *headers), GET)
        assert refused_by_the_transport(reply) or malformed(reply) == [], name


async def test_a_header_that_is_missing_is_no_ones_downfall(scene: Scene) -> None:
    for name in (b":method", b":scheme", b":path", b":authority", b"content-type", b"te"):
        async with connection(scene) as wire:
            headers = [header for header in wire.headers(PATH) if header[0] != name]
            reply = await wire.ask(headers, GET)
        assert refused_by_the_transport(reply) or malformed(reply) == [], name


async def test_a_path_that_leads_nowhere_is_unimplemented(scene: Scene) -> None:
    for path in PATHS:
        async with connection(scene) as wire:
            reply = await wire.ask(wire.headers(path), GET)
        assert refused_by_the_transport(reply) or malformed(reply) == [], path
        assert reply.status in (12, None), path
