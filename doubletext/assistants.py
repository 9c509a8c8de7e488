"""`client.assistants`: graphs with a name and a configuration."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from doubletext import convert, types
from doubletext.calls import Connection
from doubletext.v1 import assistant_service_pb2 as pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub

if TYPE_CHECKING:
    from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceAsyncStub


class AssistantsClient:
    """For each graph that the server executes itself, there is an assistant of the same id from the start."""

    def __init__(self, server: Connection) -> None:
        self._server = server
        self._stub: AssistantServiceAsyncStub = AssistantServiceStub(server.channel)

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
        """Give a graph a name and a configuration.

        assistant_id  by default the server makes an id
        config        a JSON object, which the graph gets unchanged
        reducers      "replace", "append" or "messages" for each key of the state; when none is given, `messages` has
                      "messages" and every other key has "replace"
        max_attempts  how many attempts a run has; 3 by default
        stop_grace    seconds that the next run waits for the code of a stopped run; 5 by default
        run_timeout   seconds that one attempt of a run may take; no limit by default

        Raises AssistantExists, InvalidField. The client does not retry.
        """
        request = pb.CreateAssistantRequest(
            assistant_id=assistant_id,
            graph=graph,
            metadata_json=convert.text(metadata),
            config_json=convert.text(config),
            reducers={key: convert.REDUCER.value(name) for key, name in (reducers or {}).items()},
            max_attempts=max_attempts,
            stop_grace=convert.duration(stop_grace),
            run_timeout=convert.duration(run_timeout),
        )
        return convert.assistant((await self._server.call(self._stub.CreateAssistant, request)).assistant)

    async def get(self, assistant_id: str) -> types.Assistant:
        """Return one assistant. Raises AssistantNotFound."""
        request = pb.GetAssistantRequest(assistant_id=assistant_id)
        return convert.assistant((await self._server.call(self._stub.GetAssistant, request)).assistant)

    def list(self, *, page_size: int = 0) -> AsyncIterator[types.Assistant]:
        """Iterate over the assistants, in the order of their ids."""
        request = pb.ListAssistantsRequest(page_size=page_size)
        return self._server.pages(self._stub.ListAssistants, request, lambda page: page.assistants, convert.assistant)

    async def delete(self, assistant_id: str) -> None:
        """Delete an assistant: no new run can name it, and its accepted runs go on. Raises AssistantNotFound.

        The client does not retry.
        """
        await self._server.call(self._stub.DeleteAssistant, pb.DeleteAssistantRequest(assistant_id=assistant_id))
