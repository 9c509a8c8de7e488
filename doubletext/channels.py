"""As many connections to one server as the calls under way need.

A server lets one connection have a limited number of calls at once (256, unless it was told otherwise). A call beyond
that would wait in the client until another one ends, which may be never: JoinRun and the Watch RPCs wait for long.
"""

from collections.abc import Callable
from typing import Any, Final, Self

import grpc

MOST_CALLS: Final = 200
"""Calls at once through one connection. Less than a server allows, so that calls of other channels have room beside."""


class _Connection:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.callables: dict[str, Any] = {}

    def released(self, call: object) -> None:
        self.calls -= 1


class Channels:
    """Takes the place of a grpc.aio.Channel for a stub. `connect(n)` opens the n-th channel."""

    def __init__(self, connect: Callable[[int], grpc.aio.Channel]) -> None:
        self._connect = connect
        self._connections = [_Connection(connect(0))]

    def _free(self) -> _Connection:
        for connection in self._connections:
            if connection.calls < MOST_CALLS:
                return connection
        connection = _Connection(self._connect(len(self._connections)))
        self._connections.append(connection)
        return connection

    def _calls(self, kind: str, method: str, *args: Any, **more: Any) -> Callable[..., Any]:
        def call(*args_of_call: Any, **more_of_call: Any) -> Any:
            connection = self._free()
            if (make := connection.callables.get(method)) is None:
                make = connection.callables[method] = getattr(connection.channel, kind)(method, *args, **more)
            made = make(*args_of_call, **more_of_call)
            connection.calls += 1
            made.add_done_callback(connection.released)
            return made

        return call

    def unary_unary(self, method: str, *args: Any, **more: Any) -> Any:
        return self._calls("unary_unary", method, *args, **more)

    def unary_stream(self, method: str, *args: Any, **more: Any) -> Any:
        return self._calls("unary_stream", method, *args, **more)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
