"""AssistantService."""

from uuid6 import uuid7

from doubletext.v1 import assistant_service_pb2 as pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceServicer
from doubletext_server.clock import Clock
from doubletext_server.grpc import wire
from doubletext_server.grpc.edge import Context
from doubletext_server.grpc.wire import Fields
from doubletext_server.store.protocol import Store
from doubletext_statemachine.errors import AssistantNotFound
from doubletext_statemachine.model import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_REDUCERS,
    DEFAULT_STOP_GRACE,
    Assistant,
    Reducers,
)
from doubletext_statemachine.words import Reducer


class Assistants(AssistantServiceServicer):
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def CreateAssistant(self, request: pb.CreateAssistantRequest, context: Context) -> pb.CreateAssistantResponse:
        fields = Fields()
        stop_grace = fields.duration("stop_grace", request, most=wire.HOUR)
        attempts = request.max_attempts if request.HasField("max_attempts") else DEFAULT_MAX_ATTEMPTS
        if not 1 <= attempts <= 100:
            fields.wrong("max_attempts", f"is {attempts}; it must be 1 to 100")
        assistant = Assistant(
            key=0,
            assistant_id=fields.given_id("assistant_id", request) or str(uuid7()),
            graph=fields.id("graph", request.graph),
            create_time=self._clock(),
            metadata=fields.json("metadata", request.metadata),
            config=fields.json("config", request.config),
            reducers=_reducers(fields, dict(request.reducers)),
            max_attempts=attempts,
            stop_grace=DEFAULT_STOP_GRACE if stop_grace is None else stop_grace,
            run_timeout=fields.duration("run_timeout", request, least=1),
        )
        fields.check()
        return pb.CreateAssistantResponse(assistant=wire.assistant(await self._store.add_assistant(assistant)))

    async def GetAssistant(self, request: pb.GetAssistantRequest, context: Context) -> pb.GetAssistantResponse:
        fields = Fields()
        assistant_id = fields.id("assistant_id", request.assistant_id)
        fields.check()
        assistant = self._store.assistant(assistant_id)
        if assistant is None:
            raise AssistantNotFound(assistant_id=assistant_id)
        return pb.GetAssistantResponse(assistant=wire.assistant(assistant))

    async def ListAssistants(self, request: pb.ListAssistantsRequest, context: Context) -> pb.ListAssistantsResponse:
        size, after = Fields().page(request, 1000, 100, (str,), "assistants")
        found = [
            assistant for assistant in self._store.assistants() if after is None or assistant.assistant_id > after[0]
        ]
        more = [found[size - 1].assistant_id] if len(found) > size else None
        return pb.ListAssistantsResponse(
            assistants=map(wire.assistant, found[:size]), next_page_token=wire.token(more, "assistants")
        )

    async def DeleteAssistant(self, request: pb.DeleteAssistantRequest, context: Context) -> pb.DeleteAssistantResponse:
        fields = Fields()
        assistant_id = fields.id("assistant_id", request.assistant_id)
        fields.check()
        await self._store.delete_assistant(assistant_id)
        return pb.DeleteAssistantResponse()


def _reducers(fields: Fields, given: dict[str, int]) -> Reducers:
    if not given:
        return DEFAULT_REDUCERS
    return {
        key: fields.enum(f"reducers[{key[:40]!r}]", number, wire.REDUCER) or Reducer.REPLACE
        for key, number in given.items()
    }
