"""A gRPC server that accepts calls by registered method, so that no caller's path is ever decoded.

grpc.aio takes every call in one loop, which decodes the path of a method that is not registered. A path that is no
UTF-8 ends that loop, and with it the accepting of calls for everyone. Here each registered method has a task that
accepts its calls, and one more task takes all the rest without looking at their path: they are UNIMPLEMENTED.

This leans on private names of grpcio, which is why the extra `server` pins it: docs/decisions/0046.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server

PRIVATE_NAMES: Final = (
    (cygrpc, ("AioServer", "_MethodResolver", "_handle_rpc", "_schedule_rpc_coro", "get_working_loop")),
    (cygrpc.AioServer, ("_make_request_call_future", "_request_call", "_request_registered_call")),
    (_server, ("Server",)),
)
"""What is used of grpcio beyond its public interface. A test looks for each of them."""


class Server(_server.Server):
    """A grpc.aio.Server that accepts by registered method. Handlers that are added as generic ones are not called.

    failed: a future of the error with which accepting has ended while the server was not asked to stop.
    """

    def __init__(self, options: Sequence[tuple[str, Any]]) -> None:
        self._loop = cygrpc.get_working_loop()
        self.failed: asyncio.Future[BaseException] = self._loop.create_future()
        self._server = _Acceptor(self._loop, None, (), None, tuple(options), None)
        self._server.prepare(self._loop, self.failed)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """The generated add_…Servicer_to_server adds each handler twice; the registered one serves."""


class _Acceptor(cygrpc.AioServer):  # type: ignore[misc]
    def prepare(self, loop: asyncio.AbstractEventLoop, failed: "asyncio.Future[BaseException]") -> None:
        self._event_loop = loop
        self._failed = failed
        self._handlers: dict[str, Any] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False

    def add_registered_method_handlers(self, handlers: Mapping[str, Any]) -> None:
        self._handlers.update(handlers)
        super().add_registered_method_handlers(handlers)

    async def shutdown(self, grace: float | None) -> None:
        self._stopping = True
        await super().shutdown(grace)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[None]":
        """Called by gRPC once for each registered method, and once without one.

        What is returned ends, or is cancelled, when the server stops. It outlasts a failure: gRPC would begin a stop of
        its own then, which waits for the last call under way.
        """
        return self._event_loop.create_task(self._accept_until_stopped(method))

    async def _accept_until_stopped(self, method: bytes | None) -> None:
        try:
            await self._accept(method)
        except Exception as error:
            if self._stopping:
                raise
            if not self._failed.done():
                self._failed.set_result(error)
            await self._event_loop.create_future()

    async def _accept(self, method: bytes | None) -> None:
        """Accept the calls of `method`, or those of no registered method, one after the other.

        Ends by the error that gRPC raises here when the server stops.
        """
        name, handlers = (method.decode(), self._handlers) if method else ("", {})
        resolver = cygrpc._MethodResolver([], handlers)
        while True:
            state = await (self._request_registered_call(method) if method else self._request_call())
            call = cygrpc._handle_rpc(name, resolver, (), state, self._event_loop, False)
            task = self._event_loop.create_task(cygrpc._schedule_rpc_coro(call, state, self._event_loop, name))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
