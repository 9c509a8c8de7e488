"""How the client calls: the channel's options, one call, and a listing page by page.

The one place where gRPC's errors become those of `doubletext.errors`.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from importlib import resources
from typing import Final, Protocol, TypeVar

import grpc

from doubletext.errors import DoubletextError, from_rpc_error

_MAX_MESSAGE: Final = 64 * 1024 * 1024
# gRPC gives up retrying a call whose request does not fit this buffer (256 KiB by default). The server takes 4 MiB.
_RETRY_BUFFER: Final = 5 * 1024 * 1024


class _Request(Protocol):
    page_token: str


class _Response(Protocol):
    next_page_token: str


Req = TypeVar("Req")
Resp = TypeVar("Resp")
PageReq = TypeVar("PageReq", bound=_Request)
PageResp = TypeVar("PageResp", bound=_Response)
Item = TypeVar("Item")
Out = TypeVar("Out")


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Return a channel that retries what is safe to retry, as service_config.json says."""
    options = [
        ("grpc.service_config", resources.files("doubletext.v1").joinpath("service_config.json").read_text("utf-8")),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
    ]
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


async def call(
    method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, timeout: float | None = None
) -> Resp:
    """Call once. Raises DoubletextError for every error; a cancelled task cancels the call."""
    try:
        response = await method(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    # grpc.aio logs an answer that it cannot parse (JSON nested too deeply is one) and returns None for it.
    if response is None:
        raise DoubletextError("the server's answer cannot be read", code=grpc.StatusCode.INTERNAL)
    return response


async def pages(
    method: "grpc.aio.UnaryUnaryMultiCallable[PageReq, PageResp]",
    request: PageReq,
    items: Callable[[PageResp], Iterable[Item]],
    convert: Callable[[Item], Out],
) -> AsyncIterator[Out]:
    """Yield every item of a listing. A page is fetched when the one before it is used up."""
    while True:
        response = await call(method, request)
        for item in items(response):
            yield convert(item)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
