"""How the client makes calls: the channel's options, one call, a stream of events, and the pages of a list.

Only this module turns gRPC's errors into those of `doubletext.errors`.
"""

import asyncio
import json
import pkgutil
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from functools import cache
from typing import Any, Final, Protocol, TypeVar, cast

import grpc

from doubletext.channels import Channels
from doubletext.errors import DoubletextError, Unavailable, from_rpc_error
from doubletext.v1.resources_pb2 import Event

AS_TEXT: Final = (("doubletext-json", "text"),)
"""The metadata of a call whose answer is to have JSON as text, so that numbers and the order of keys are kept."""

_MAX_MESSAGE: Final = 64 * 1024 * 1024
# gRPC does not retry a call whose request is larger than this buffer (256 KiB by default). The server accepts 4 MiB.
_RETRY_BUFFER: Final = 5 * 1024 * 1024
# By default, gRPC waits up to two minutes before it tries to reach a server again that has been away for long.
_LONGEST_BACKOFF_MS: Final = 5000


_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_TRIES: Final = 5.0
"""Seconds, more than gRPC's own tries take."""
_CONNECTING: Final = 25.0
"""Seconds, more than gRPC's own tries take where a connection is tried first, for 20 s."""
_NOT_REACHED: Final = "failed to connect to all addresses"
"""What gRPC says when its last try found no server."""


class _Request(Protocol):
    page_token: str


class _Response(Protocol):
    next_page_token: str


class _EventResponse(Protocol):
    @property
    def event(self) -> Event: ...


Req = TypeVar("Req")
Resp = TypeVar("Resp")
EventResp = TypeVar("EventResp", bound=_EventResponse)
PageReq = TypeVar("PageReq", bound=_Request)
PageResp = TypeVar("PageResp", bound=_Response)
Item = TypeVar("Item")
Out = TypeVar("Out")


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Return a channel that retries what is safe to retry, as service_config.json says. It opens as many connections as
    its calls need."""

    def connect(number: int) -> grpc.aio.Channel:
        # Channels of a process share connections, unless they are told not to.
        options = [*_options(target), *([("grpc.use_local_subchannel_pool", 1)] if number else [])]
        if credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, credentials, options)

    return cast("grpc.aio.Channel", Channels(connect))


def open_threads_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Return a channel of its own for calls from a thread, whatever the event loop does."""
    options = [*_options(target), ("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


def _options(target: str) -> list[tuple[str, Any]]:
    return [
        ("grpc.service_config", _service_config()),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_BACKOFF_MS),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
        # What listens on this machine is reached directly, whatever http_proxy says.
        ("grpc.enable_http_proxy", int(not is_loopback(target))),
    ]


def is_loopback(target: str) -> bool:
    """Return whether a gRPC target is on this machine."""
    host = re.sub(r"^(dns|ipv4|ipv6):(///)?", "", target).rpartition(":")[0].strip("[]")
    return target.startswith("unix") or host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))


def _service_config() -> str:
    # pkgutil is imported already. To import importlib.resources takes longer than to import the rest of this module.
    config = pkgutil.get_data("doubletext.v1", "service_config.json")
    assert config is not None
    return config.decode()


async def call_once(
    method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, timeout: float | None = None
) -> Resp:
    """Make one call. `timeout` is in seconds.

    Raises DoubletextError for every error. A cancelled task cancels the call.
    """
    try:
        response = await method(request, timeout=timeout, metadata=AS_TEXT)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    # For an answer that it cannot parse, such as JSON that is nested too deeply, grpc.aio writes to the log and returns
    # None.
    if response is None:
        raise DoubletextError("the server's answer cannot be read", code=grpc.StatusCode.INTERNAL)
    return response


class Connection:
    """A channel to one server, and the calls through it that are repeated while the server is unavailable.

    retry_for: seconds of an outage, counted from the first failure. A call that a server held for a while, as JoinRun
               is held, was answered well until then: its failure begins another outage.
    """

    def __init__(self, channel: grpc.aio.Channel, retry_for: float) -> None:
        self.channel = channel
        self._retry_for = retry_for

    async def call(self, method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req) -> Resp:
        """Call, and call again while the server is unavailable, if that is safe. Raises as `call_once` does.

        gRPC itself makes up to five calls in about three seconds, as service_config.json says. This goes on after them.
        """
        until, pause = None, _FIRST_PAUSE
        while True:
            began = _now()
            try:
                return await call_once(method, request)
            except Unavailable as error:
                now = _now()
                if until is None or _was_held(error, now - began):
                    until, pause = now + self._retry_for, _FIRST_PAUSE
                left = until - now
                if left <= 0 or type(request).__name__.removesuffix("Request") not in _safe_to_repeat():
                    raise
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def watch(
        self, open_stream: "Callable[[int], grpc.aio.UnaryStreamCall[Req, EventResp]]", after_sequence: int
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream. When the stream breaks, open it again after the last event, with growing
        pauses. Raises Unavailable when that has failed five times, and for as long as calls are repeated."""
        failures, until = 0, 0.0
        while True:
            stream = open_stream(after_sequence)
            try:
                async for response in stream:
                    yield response.event
                    failures = 0
                    after_sequence = response.event.sequence or after_sequence  # a part has none
                return
            except grpc.aio.AioRpcError as raised:
                error = from_rpc_error(raised)
                if failures == 0:
                    until = _now() + self._retry_for
                failures += 1
                if not isinstance(error, Unavailable) or (failures >= _ATTEMPTS and _now() >= until):
                    raise error from raised
            finally:
                stream.cancel()  # a caller that stops reading leaves no call behind
            await asyncio.sleep(min(_FIRST_PAUSE * 2**failures, _LONGEST_PAUSE))

    async def pages(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[PageReq, PageResp]",
        request: PageReq,
        items: Callable[[PageResp], Iterable[Item]],
        convert: Callable[[Item], Out],
    ) -> AsyncIterator[Out]:
        """Yield every item of a list. Fetch a page when the items of the one before it are used up."""
        while True:
            response = await self.call(method, request)
            for item in items(response):
                yield convert(item)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


def _was_held(error: Unavailable, seconds: float) -> bool:
    """Whether a call that failed after so long had been with a server before."""
    return seconds > (_CONNECTING if str(error).startswith(_NOT_REACHED) else _TRIES)


def _now() -> float:
    return asyncio.get_running_loop().time()


@cache
def _safe_to_repeat() -> frozenset[str]:
    """The names of the methods that service_config.json lets gRPC repeat."""
    config = json.loads(_service_config())
    return frozenset(name["method"] for each in config["methodConfig"] for name in each["name"])
