"""How the client makes calls: the channel's options, one call, a stream of events, and the pages of a list.

Only this module turns gRPC's errors into those of `doubletext.errors`.
"""

import asyncio
import pkgutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Final, Protocol, TypeVar

import grpc

from doubletext.errors import DoubletextError, Unavailable, from_rpc_error
from doubletext.v1.resources_pb2 import Event

_MAX_MESSAGE: Final = 64 * 1024 * 1024
# gRPC does not retry a call whose request is larger than this buffer (256 KiB by default). The server accepts 4 MiB.
_RETRY_BUFFER: Final = 5 * 1024 * 1024
# By default, gRPC waits up to two minutes before it tries to reach a server again that has been away for long.
_LONGEST_BACKOFF_MS: Final = 5000


_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.1


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
    """Return a channel that retries what is safe to retry, as service_config.json says."""
    # pkgutil is imported already. To import importlib.resources takes longer than to import the rest of this module.
    config = pkgutil.get_data("doubletext.v1", "service_config.json")
    assert config is not None
    options = [
        ("grpc.service_config", config.decode()),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_BACKOFF_MS),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


async def call(
    method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, timeout: float | None = None
) -> Resp:
    """Make one call. `timeout` is in seconds.

    Raises DoubletextError for every error. A cancelled task cancels the call.
    """
    try:
        response = await method(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    # For an answer that it cannot parse, such as JSON that is nested too deeply, grpc.aio writes to the log and returns
    # None.
    if response is None:
        raise DoubletextError("the server's answer cannot be read", code=grpc.StatusCode.INTERNAL)
    return response


async def watch(
    open_stream: "Callable[[int], grpc.aio.UnaryStreamCall[Req, EventResp]]", after_sequence: int
) -> AsyncGenerator[Event, None]:
    """Yield the events of a stream. When the stream breaks, open it again after the last event, with growing pauses.

    Raises Unavailable when five streams in a row failed.
    """
    failures = 0
    while True:
        stream = open_stream(after_sequence)
        try:
            async for response in stream:
                yield response.event
                after_sequence, failures = response.event.sequence, 0
            return
        except grpc.aio.AioRpcError as raised:
            error = from_rpc_error(raised)
            failures += 1
            if failures == _ATTEMPTS or not isinstance(error, Unavailable):
                raise error from raised
        finally:
            stream.cancel()  # a caller that stops reading leaves no call behind
        await asyncio.sleep(_FIRST_PAUSE * 2**failures)


async def pages(
    method: "grpc.aio.UnaryUnaryMultiCallable[PageReq, PageResp]",
    request: PageReq,
    items: Callable[[PageResp], Iterable[Item]],
    convert: Callable[[Item], Out],
) -> AsyncIterator[Out]:
    """Yield every item of a list. Fetch a page when the items of the one before it are used up."""
    while True:
        response = await call(method, request)
        for item in items(response):
            yield convert(item)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
