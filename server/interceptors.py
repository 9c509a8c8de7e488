"""Around every RPC of this package: readiness, soundness of the request, room, and the form of a failure."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import structlog
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from uuid6 import uuid7

from server.errors import internal, status_of
from statemachine.errors import InvalidField, NotReady, Overloaded, Refusal, TooLarge

LARGEST_REQUEST: Final = (4 * 1024 - 16) * 1024
"""Bytes. Under a client's usual limit for answers, 4 MiB, so that what was sent can be shown."""
LARGEST_RESPONSE: Final = 64 * 1024 * 1024
"""Bytes. What the Python client takes."""
PACKAGE: Final = "/doubletext.v1."
WAITING: Final = frozenset({"JoinRun", "WatchRun", "WatchThread", "ClaimRun", "WatchLease"})
"""RPCs that sleep until something happens; one that does costs memory, and nothing else."""

log = structlog.get_logger("rpc")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True)
class Limits:
    """How many calls there may be at once: under way, and waiting for something to happen."""

    calls: int = 10_000
    waiting: int = 50_000


class Room:
    """Room for so many calls; a call is in it while it is entered. Raises Overloaded when it is full."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self.limit:
            raise Overloaded(calls=self.taken, what=self.what, limit=self.limit)
        self.taken += 1

    def __exit__(self, *exc: object) -> None:
        self.taken -= 1


class Edge(grpc.aio.ServerInterceptor):
    """`closed` refuses every call while it is set. Other packages' services (health, reflection) pass untouched.

    on_failure: told of each call that fails, by its method.
    """

    def __init__(self, limits: Limits) -> None:
        self.closed: str | None = "starting"
        self.on_failure: Callable[[str, Exception], None] = lambda method, error: None
        self._calls = Room("calls under way", limits.calls)
        self._waiting = Room("calls that wait", limits.waiting)
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        method = handler_call_details.method
        handler = self._guarded.get(method)
        if handler is not None:
            return handler
        handler = await continuation(handler_call_details)
        if handler is not None and method.startswith(PACKAGE):
            handler = self._guarded[method] = self._guard(method, handler)
        return handler

    def _guard(self, method: str, handler: Any) -> Handler:
        def read(data: bytes) -> Any:
            """The request, or the refusal of it: what is raised here would reach the client as it is."""
            if len(data) > LARGEST_REQUEST:
                return TooLarge(what="the request", size=len(data), limit=LARGEST_REQUEST)
            try:
                return handler.request_deserializer(data)
            except Exception:  # noqa: BLE001 - protobuf's kinds of failure are not ours to tell apart
                return InvalidField([("request", f"is not the message that {method} takes")])

        room = self._waiting if method.rpartition("/")[2] in WAITING else self._calls

        async def unary(request: Any, context: Context) -> Any:
            try:
                self._admit(request)
                with room:
                    return _fitting(await handler.unary_unary(request, context))
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._abort(context, method, error)

        async def stream(request: Any, context: Context) -> None:
            try:
                self._admit(request)
                with room:
                    async for message in handler.unary_stream(request, context):
                        await context.write(message)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._abort(context, method, error)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, read, handler.response_serializer)

    def _admit(self, request: Any) -> None:
        if self.closed is not None:
            raise NotReady(what=self.closed)
        if isinstance(request, Refusal):
            raise request

    async def _abort(self, context: Context, method: str, error: Exception) -> NoReturn:
        self.on_failure(method, error)
        await context.abort_with_status(rpc_status.to_status(_status(method, error)))
        raise AssertionError("abort_with_status raises")


def _fitting(response: Any) -> Any:
    """The response, unless it is more than the largest client takes: a thread's state has no other bound."""
    size = response.ByteSize()
    if size > LARGEST_RESPONSE:
        raise TooLarge(what="the answer", size=size, limit=LARGEST_RESPONSE)
    return response


def _status(method: str, error: Exception) -> Status:
    if isinstance(error, Refusal):
        return status_of(error)
    reference = str(uuid7())
    log.error("a call failed", method=method, reference=reference, exc_info=error)
    return internal(reference)
