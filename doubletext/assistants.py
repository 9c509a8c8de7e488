"""`client.assistants`: named, configured graphs."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from doubletext import convert, types
from doubletext.calls import call, pages
from doubletext.v1 import assistant_service_pb2 as pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub

if TYPE_CHECKING:
    from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceAsyncStub


class AssistantsClient:
    """Each graph that the server can run is an assistant of the same id from the start."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: AssistantServiceAsyncStub = AssistantServiceStub(channel)

    async def create(
        self,
        graph: str,
        *,
        assistant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        reducers: Mapping[str, types.Reducer] | None = None,
        max_attempts: int | None = None,
        stop_grace: float | None = None,
        run_timeout: float | None = None,
    ) -> types.Assistant:
        """Name a graph with its configuration.

        config       a JSON object, handed to the graph
        reducers     by key of the state: "replace", "append" or "messages"; with none given, `messages` is
                     "messages" and every other key "replace"
        stop_grace   seconds for which a stopped run's code may hold up the next run; 5 by default
        run_timeout  seconds that one attempt of a run may take; no limit by default

        Raises AssistantExists, InvalidField. Not retried.
        """
        request = pb.CreateAssistantRequest(
            assistant_id=assistant_id,
            graph=graph,
            metadata=convert.struct(metadata),
            config=convert.struct(config),
            reducers={key: convert.REDUCER.value(name) for key, name in (reducers or {}).items()},
            max_attempts=max_attempts,
            stop_grace=convert.duration(stop_grace),
            run_timeout=convert.duration(run_timeout),
        )
        return convert.assistant((await call(self._stub.CreateAssistant, request)).assistant)

    async def get(self, assistant_id: str) -> types.Assistant:
        """Raises AssistantNotFound."""
        request = pb.GetAssistantRequest(assistant_id=assistant_id)
        return convert.assistant((await call(self._stub.GetAssistant, request)).assistant)

    def list(self, *, page_size: int = 0) -> AsyncIterator[types.Assistant]:
        """Iterate over the assistants, in order of their ids."""
        request = pb.ListAssistantsRequest(page_size=page_size)
        return pages(self._stub.ListAssistants, request, lambda page: page.assistants, convert.assistant)

    async def delete(self, assistant_id: str) -> None:
        """Let no new run name the assistant; the runs that do go on. Raises AssistantNotFound. Not retried."""
        await call(self._stub.DeleteAssistant, pb.DeleteAssistantRequest(assistant_id=assistant_id))
