"""AssistantService."""

from doubletext.v1 import assistant_service_pb2 as pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceServicer
from doubletext_server.grpc.edge import RpcContext
from doubletext_server.grpc.wire import reading, writing
from doubletext_server.grpc.wire.objects import chosen
from doubletext_server.usecases.assistants import Assistants


class AssistantService(AssistantServiceServicer):
    def __init__(self, assistants: Assistants) -> None:
        self._assistants = assistants

    async def CreateAssistant(
        self, request: pb.CreateAssistantRequest, context: RpcContext
    ) -> pb.CreateAssistantResponse:
        assistant = await self._assistants.create(reading.new_assistant(request))
        return pb.CreateAssistantResponse(assistant=writing.assistant(assistant, chosen(request, context)))

    async def GetAssistant(self, request: pb.GetAssistantRequest, context: RpcContext) -> pb.GetAssistantResponse:
        assistant = await self._assistants.get(request.assistant_id)
        return pb.GetAssistantResponse(assistant=writing.assistant(assistant, chosen(request, context)))

    async def ListAssistants(self, request: pb.ListAssistantsRequest, context: RpcContext) -> pb.ListAssistantsResponse:
        listing = await self._assistants.list(reading.page(request))
        put = chosen(request, context)
        assistants = [writing.assistant(assistant, put) for assistant in listing.items]
        return pb.ListAssistantsResponse(assistants=assistants, next_page_token=listing.next_page_token)

    async def DeleteAssistant(
        self, request: pb.DeleteAssistantRequest, context: RpcContext
    ) -> pb.DeleteAssistantResponse:
        await self._assistants.delete(request.assistant_id)
        return pb.DeleteAssistantResponse()
