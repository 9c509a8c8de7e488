"""The asyncio client, shaped like langgraph_sdk's.

    async with Client("127.0.0.1:50051") as client:
        thread = await client.threads.create()
        run = await client.runs.create(
            thread["thread_id"], "agent", input={"messages": [...]}, multitask_strategy="interrupt"
        )
        joined = await client.runs.join(thread["thread_id"], run["run_id"])

Results are the dicts of `doubletext.types`. Every method raises the exceptions of `doubletext.errors`. For an argument
that cannot be written as protobuf, a method raises ValueError or TypeError and sends nothing. Cancelling the task
cancels the call.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Self

import grpc

from doubletext.calls import Connection, open_channel

if TYPE_CHECKING:
    from doubletext.assistants import AssistantsClient
    from doubletext.runs import RunsClient
    from doubletext.threads import ThreadsClient


class Client:
    """A connection to one server.

    target       HOST:PORT, or any other gRPC target
    credentials  for a TLS channel; without them, the channel is neither encrypted nor authenticated

    retry_for    seconds for which a call is repeated while the server is unavailable, if that is safe. The default
                 outlasts a restart of the server. With 0, gRPC alone repeats it, for about three seconds.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        retry_for: float = 30,
    ) -> None:
        self._retry_for = retry_for
        self._target = target
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls under way end with CancelledError, and the client cannot be used again."""
        await self._connection.channel.close()

    # A channel belongs to the event loop in which it was created. It is created at the first call, so a client can be
    # created where no loop runs.
    @cached_property
    def _connection(self) -> Connection:
        return Connection(open_channel(self._target, self._credentials), self._retry_for)

    # Each is imported when it is used, so that a command with one call does not load the stubs of the others.
    @cached_property
    def assistants(self) -> "AssistantsClient":
        from doubletext.assistants import AssistantsClient

        return AssistantsClient(self._connection)

    @cached_property
    def threads(self) -> "ThreadsClient":
        from doubletext.threads import ThreadsClient

        return ThreadsClient(self._connection)

    @cached_property
    def runs(self) -> "RunsClient":
        from doubletext.runs import RunsClient

        return RunsClient(self._connection)
