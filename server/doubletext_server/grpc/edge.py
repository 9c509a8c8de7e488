"""Around every RPC of this package: readiness, soundness of the request, room, and the form of a failure.

Handlers are wrapped once, when their service is added. An interceptor would do it too, at the price of a coroutine of
its own for each call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import grpc
import structlog
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from uuid6 import uuid7

from doubletext_server.grpc.errors import internal, status_of
from doubletext_statemachine.errors import InvalidField, NotReady, Overloaded, Refusal, TooLarge

LARGEST_REQUEST: Final = (4 * 1024 - 16) * 1024
"""Bytes. Under a client's usual limit for answers, 4 MiB, so that what was sent can be shown."""
LARGEST_RESPONSE: Final = 64 * 1024 * 1024
"""Bytes. What the Python client takes."""
MAY_BE_RETRIED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
WAITING: Final = frozenset({"JoinRun", "WatchRun", "WatchThread", "ClaimRun", "WatchLease"})
"""RPCs that sleep until something happens; one that does costs memory, and nothing else."""

log = structlog.get_logger("rpc")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
RpcContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


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


class Edge:
    """`closed` refuses every call while it is set. Other packages' services (health, reflection) are not guarded.

    on_failure: called with the method and the error of each call that fails.
    """

    def __init__(self, limits: Limits, on_failure: Callable[[str, Exception], None] | None = None) -> None:
        self.closed: str | None = "starting"
        self._on_failure = on_failure
        self._calls = Room("calls under way", limits.calls)
        self._waiting = Room("calls that wait", limits.waiting)

    def before(self, server: grpc.aio.Server) -> grpc.aio.Server:
        """What to add services to that are to be guarded."""
        return cast("grpc.aio.Server", Entrance(self, server))

    def guard(self, method: str, handler: Any) -> Handler:
        """The handler of `/package.Service/Method`, guarded."""

        def read(data: bytes) -> Any:
            """The request, or the refusal of it: what is raised here would reach the client as it is."""
            if len(data) > LARGEST_REQUEST:
                return TooLarge(what="the request", size=len(data), limit=LARGEST_REQUEST)
            try:
                return handler.request_deserializer(data)
            except Exception:  # noqa: BLE001 - protobuf's kinds of failure are not ours to tell apart
                return InvalidField([("request", f"is not the message that {method} takes")])

        write = handler.response_serializer
        room = self._waiting if method.rpartition("/")[2] in WAITING else self._calls

        async def unary(request: Any, context: RpcContext) -> bytes | None:
            try:
                self._admit(request)
                with room:
                    return _fitting(write(await handler.unary_unary(request, context)))
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._fail(context, method, error)
                return None

        async def stream(request: Any, context: RpcContext) -> None:
            try:
                self._admit(request)
                with room:
                    async for message in handler.unary_stream(request, context):
                        if not await _sent(context, message):
                            return
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._fail(context, method, error)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        return grpc.unary_unary_rpc_method_handler(unary, read)

    def _admit(self, request: Any) -> None:
        if self.closed is not None:
            raise NotReady(what=self.closed)
        if isinstance(request, Refusal):
            raise request

    async def _fail(self, context: RpcContext, method: str, error: Exception) -> None:
        """End the call with the error's status, once the handler returns.

        `abort` ends it here, by an exception, which takes the server a tenth longer. It leaves out the headers, though,
        without which alone a client's transport tries again of itself (gRPC's proposal A6). See docs/decisions/0041.
        """
        if self._on_failure is not None:
            self._on_failure(method, error)
        status = rpc_status.to_status(_status(method, error))
        if status.code in MAY_BE_RETRIED:
            await context.abort_with_status(status)
        context.set_code(status.code)
        context.set_details(status.details)
        context.set_trailing_metadata(status.trailing_metadata)


class Entrance:
    """Takes a server's place in the generated add_…Servicer_to_server: what is added gets to the server guarded."""

    def __init__(self, edge: Edge, server: grpc.aio.Server) -> None:
        self._edge = edge
        self._server = server

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        guarded = {name: self._edge.guard(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers once more, without their names."""


async def _sent(context: RpcContext, message: Any) -> bool:
    """Send one message of a stream. False when the caller has gone meanwhile, which is no failure of ours."""
    try:
        await context.write(message)
    except grpc.aio.InternalError:  # gRPC's word for an operation on a call that is over
        return False
    return True


def _fitting(response: bytes) -> bytes:
    """The response, unless it is more than the largest client takes: a thread's state has no other bound."""
    if len(response) > LARGEST_RESPONSE:
        raise TooLarge(what="the answer", size=len(response), limit=LARGEST_RESPONSE)
    return response


def _status(method: str, error: Exception) -> Status:
    if isinstance(error, Refusal):
        return status_of(error)
    reference = str(uuid7())
    log.error("a call failed", method=method, reference=reference, exc_info=error)
    return internal(reference)
