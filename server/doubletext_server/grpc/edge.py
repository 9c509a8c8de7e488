"""What every RPC has in common: the server must be ready, the request must be readable and not too large, there must be
room for the call, and a failure becomes a status.

Each handler is wrapped when its service is added. An interceptor would cost one more coroutine for each call.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import grpc
import structlog
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from uuid6 import uuid7

from doubletext_server.grpc.errors import internal, status_of
from doubletext_server.grpc.freed import Freed
from doubletext_statemachine.errors import InvalidField, NotReady, Overloaded, Refusal, TooLarge

LARGEST_REQUEST: Final = (4 * 1024 - 16) * 1024
"""Bytes. Less than the 4 MiB that a client usually accepts, so that an answer can contain what a request contained."""
LARGEST_RESPONSE: Final = 64 * 1024 * 1024
"""Bytes. What the Python client accepts."""
MAY_BE_RETRIED: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
WAITING: Final = frozenset({"JoinRun", "WatchRun", "WatchThread"})
"""RPCs that wait until something happens. A waiting call costs memory and nothing else."""
LEASES: Final = frozenset({"ClaimRun", "WatchLease"})
"""Those of workers have a room of their own, so that no number of waiting callers keeps runs from being executed."""
LARGE_ANSWER: Final = 64 * 1024
LARGEST_QUESTION: Final = 64 * 1024
"""Bytes of a request to health or reflection."""

log = structlog.get_logger("rpc")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
RpcContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True)
class Limits:
    """How much there may be at once.

    calls    calls under way
    waiting  calls that wait for something to happen
    leases   claims that wait, and leases that are watched
    others   calls to health and reflection
    unread   bytes of large answers and messages that their callers have not read yet
    streams  calls of one connection
    """

    calls: int = 10_000
    waiting: int = 50_000
    leases: int = 20_000
    others: int = 1_000
    unread: int = 256 * 1024 * 1024
    streams: int = 256


class Room:
    """Room for a number of calls. A call enters it as a context manager. Raises Overloaded when the room is full."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.taken = 0

    def __enter__(self) -> None:
        self.take(1)

    def __exit__(self, *exc: object) -> None:
        self.taken -= 1

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Room for so much, while the block lasts."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    def take(self, size: int) -> None:
        if self.taken + size > self.limit:
            raise Overloaded(calls=self.taken, what=self.what, limit=self.limit)
        self.taken += size

    def give_back(self, size: int) -> None:
        self.taken -= size


class Edge:
    """The guard around the handlers of this package, and a lighter one around those of health and reflection.

    closed      why every call is refused: "starting" or "stopping"; None while the server accepts calls
    on_failure  is called with the method and the error of each call that fails
    """

    def __init__(self, limits: Limits, on_failure: Callable[[str, Exception], None] | None = None) -> None:
        self.closed: str | None = "starting"
        self._on_failure = on_failure
        self._calls = Room("calls under way", limits.calls)
        self._waiting = Room("calls that wait", limits.waiting)
        self._leases = Room("claims and watched leases", limits.leases)
        self._others = Room("calls to health and reflection", limits.others)
        self._freed = Freed()
        self._unread = Room("bytes of answers that were not read yet", limits.unread)

    def before(self, server: grpc.aio.Server) -> grpc.aio.Server:
        """What to add services to that are to be guarded."""
        return cast("grpc.aio.Server", Entrance(self.guard, server))

    def beside(self, server: grpc.aio.Server) -> grpc.aio.Server:
        """What to add health and reflection to: they answer while the server is closed too."""
        return cast("grpc.aio.Server", Entrance(self.count, server))

    def count(self, method: str, handler: Any) -> Handler:
        """Return a handler of another package that is counted, and whose requests are small."""

        def read(data: bytes) -> Any:
            if len(data) > LARGEST_QUESTION:
                raise ValueError(f"a request to {method} has at most {LARGEST_QUESTION} bytes")
            return handler.request_deserializer(data)

        async def unary(request: Any, context: RpcContext) -> Any:
            try:
                with self._others:
                    return await handler.unary_unary(request, context)
            except Overloaded as error:
                await self._fail(context, method, error)

        async def stream(request: Any, context: RpcContext) -> None:
            try:
                with self._others:
                    talk = (handler.stream_stream or handler.unary_stream)(request, context)
                    if not hasattr(talk, "__aiter__"):
                        await talk
                        return
                    async for message in talk:
                        await context.write(message)
            except Overloaded as error:
                await self._fail(context, method, error)

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, read, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, read, handler.response_serializer)

    def guard(self, method: str, handler: Any) -> Handler:
        """Return the guarded handler of `/package.Service/Method`."""

        def read(data: bytes) -> Any:
            """Return the request, or a refusal. An error that is raised here would reach the client without details."""
            if len(data) > LARGEST_REQUEST:
                return TooLarge(what="the request", size=len(data), limit=LARGEST_REQUEST)
            try:
                return handler.request_deserializer(data)
            except Exception:  # noqa: BLE001 - protobuf raises errors of several classes
                return InvalidField([("request", f"is not the message that {method} takes")])

        write = handler.response_serializer
        name = method.rpartition("/")[2]
        room = self._waiting if name in WAITING else self._leases if name in LEASES else self._calls
        answered = self._count_unread if name.startswith(("Get", "List", "Join")) else _uncounted

        async def unary(request: Any, context: RpcContext) -> bytes | None:
            try:
                self._admit(request)
                with room:
                    return answered(_fitting(write(await handler.unary_unary(request, context))), context)
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._fail(context, method, error)
                return None

        async def stream(request: Any, context: RpcContext) -> None:
            try:
                self._admit(request)
                with room:
                    async for message in handler.unary_stream(request, context):
                        size = message.ByteSize()
                        with self._unread.of(size if size > LARGE_ANSWER else 0):
                            if not await _sent(context, message):
                                return
            except Exception as error:  # noqa: BLE001 - each becomes a status
                await self._fail(context, method, error)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        return grpc.unary_unary_rpc_method_handler(unary, read)

    def _count_unread(self, response: bytes, context: RpcContext) -> bytes:
        """Return the response. gRPC keeps it, several times over, until its caller has read it or has gone.

        Raises Overloaded.
        """
        size = len(response)
        if size <= LARGE_ANSWER:
            return response
        try:
            self._unread.take(size)
        except Overloaded:
            self._freed.add(size)
            raise

        def done(_: object) -> None:
            self._unread.give_back(size)
            self._freed.add(size)

        context.add_done_callback(done)  # type: ignore[arg-type] # mutant: unread
        return response

    def _admit(self, request: Any) -> None:
        if self.closed is not None:
            raise NotReady(what=self.closed)
        if isinstance(request, Refusal):
            raise request

    async def _fail(self, context: RpcContext, method: str, error: Exception) -> None:
        """Give the call the error's status. The call ends when its handler returns.

        Calls that a client may retry are aborted instead, by an exception, which costs the server a tenth more. An
        abort sends no headers, and a client's transport retries by itself only after an answer without headers (gRPC's
        proposal A6). See docs/decisions/0041.
        """
        if isinstance(error, Refusal):  # its frames hold the answer that was refused, and are in a cycle with an abort
            error.__traceback__ = None
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

    def __init__(self, guard: Callable[[str, Handler], Handler], server: grpc.aio.Server) -> None:
        self._guard = guard
        self._server = server

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        guarded = {name: self._guard(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, guarded)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers once more, without their names."""


def _uncounted(response: bytes, context: RpcContext) -> bytes:
    return response


async def _sent(context: RpcContext, message: Any) -> bool:
    """Send one message of a stream. Return False when the caller has gone, which is no failure of the server."""
    try:
        await context.write(message)
    except grpc.aio.InternalError:  # what gRPC raises for an operation on a call that is over
        return False
    return True


def _fitting(response: bytes) -> bytes:
    """Return the response if it is not too large. A thread's state has no other limit. Raises TooLarge."""
    if len(response) > LARGEST_RESPONSE:
        raise TooLarge(what="the answer", size=len(response), limit=LARGEST_RESPONSE)
    return response


def _status(method: str, error: Exception) -> Status:
    if isinstance(error, Refusal):
        return status_of(error)
    reference = str(uuid7())
    log.error("a call failed", method=method, reference=reference, exc_info=error)
    return internal(reference)
