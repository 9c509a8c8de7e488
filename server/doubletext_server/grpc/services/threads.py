"""ThreadService."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from doubletext.v1 import thread_service_pb2 as pb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceServicer
from doubletext_server.grpc.edge import LARGEST_RESPONSE, RpcContext
from doubletext_server.grpc.wire import reading, writing
from doubletext_server.grpc.wire.enums import ON_FAILURE, QUEUE_POLICY, STRATEGY, THREAD_STATUS
from doubletext_server.grpc.wire.objects import chosen, exactly
from doubletext_server.usecases.threads import Threads


class ThreadService(ThreadServiceServicer):
    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def CreateThread(self, request: pb.CreateThreadRequest, context: RpcContext) -> pb.CreateThreadResponse:
        record = await self._threads.create(
            reading.given(request, "thread_id"),
            reading.json_object(request, "metadata"),
            reading.enum(request.default_strategy, STRATEGY),
            request.max_queued_runs,
            reading.enum(request.default_queue_policy, QUEUE_POLICY),
            reading.enum(request.on_failure, ON_FAILURE),
        )
        return pb.CreateThreadResponse(thread=writing.thread(record, chosen(request, context)))

    async def GetThread(self, request: pb.GetThreadRequest, context: RpcContext) -> pb.GetThreadResponse:
        record = await self._threads.get(request.thread_id)
        return pb.GetThreadResponse(thread=writing.thread(record, exactly(request, context)))

    async def ListThreads(self, request: pb.ListThreadsRequest, context: RpcContext) -> pb.ListThreadsResponse:
        statuses = reading.filters(request.statuses, THREAD_STATUS)
        metadata = reading.json_object(request, "metadata")
        listing = await self._threads.list(statuses, metadata, reading.page(request))
        put = chosen(request, context)
        threads = [writing.thread(thread, put) for thread in listing.items]
        return pb.ListThreadsResponse(threads=threads, next_page_token=listing.next_page_token)

    async def UpdateThread(self, request: pb.UpdateThreadRequest, context: RpcContext) -> pb.UpdateThreadResponse:
        settings: dict[str, Any] = {}
        if (metadata := reading.given_object(request, "metadata")) is not None:
            settings["metadata"] = metadata
        if request.HasField("default_strategy"):
            settings["default_strategy"] = reading.enum(request.default_strategy, STRATEGY)
        if request.HasField("max_queued_runs"):
            settings["max_queued_runs"] = request.max_queued_runs
        if request.HasField("default_queue_policy"):
            settings["default_queue_policy"] = reading.enum(request.default_queue_policy, QUEUE_POLICY)
        if request.HasField("held"):
            settings["held"] = request.held
        if request.HasField("on_failure"):
            settings["on_failure"] = reading.enum(request.on_failure, ON_FAILURE)
        record = await self._threads.update(request.thread_id, **settings)
        return pb.UpdateThreadResponse(thread=writing.thread(record, chosen(request, context)))

    async def DeleteThread(self, request: pb.DeleteThreadRequest, context: RpcContext) -> pb.DeleteThreadResponse:
        await self._threads.delete(request.thread_id)
        return pb.DeleteThreadResponse()

    async def GetState(self, request: pb.GetStateRequest, context: RpcContext) -> pb.GetStateResponse:
        state = await self._threads.state(request.thread_id, reading.given(request, "step"))
        return pb.GetStateResponse(state=writing.state(state, exactly(request, context)))

    async def ListStates(self, request: pb.ListStatesRequest, context: RpcContext) -> pb.ListStatesResponse:
        listing = await self._threads.states(request.thread_id, reading.page(request))
        put = chosen(request, context)
        states = [writing.state(state, put) for state in listing.items]
        return pb.ListStatesResponse(states=states, next_page_token=listing.next_page_token)

    async def UpdateState(self, request: pb.UpdateStateRequest, context: RpcContext) -> pb.UpdateStateResponse:
        values = reading.given_object(request, "values")
        state = await self._threads.update_state(request.thread_id, values, reading.given(request, "assistant_id"))
        response = pb.UpdateStateResponse(state=writing.state(state, chosen(request, context)))
        if response.ByteSize() > LARGEST_RESPONSE:  # the step is made, which the caller has to know
            response.state.ClearField("values")
            response.state.ClearField("values_json")
        return response

    async def WatchThread(
        self, request: pb.WatchThreadRequest, context: RpcContext
    ) -> AsyncIterator[pb.WatchThreadResponse]:
        event_of_thread = writing.EVENT_OF_THREAD[chosen(request, context)]
        watch = self._threads.watch(request.thread_id, request.after_sequence, live=request.live)
        async with aclosing(await watch) as pages:
            async for page in pages:
                for response in page.converted(event_of_thread):
                    yield response
