"""ThreadService."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from uuid6 import uuid7

from doubletext.v1 import thread_service_pb2 as pb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceServicer
from doubletext_server.engine.eventlog import Feed
from doubletext_server.grpc import wire
from doubletext_server.grpc.edge import Context
from doubletext_server.grpc.wire import MOST_FILTERS, Fields
from doubletext_server.store.protocol import Store, ThreadRecord
from doubletext_statemachine import commands
from doubletext_statemachine.errors import AssistantNotFound
from doubletext_statemachine.model import DEFAULT_REDUCERS, Reducers
from doubletext_statemachine.words import Strategy, ThreadStatus

LONGEST_QUEUE = 1_000_000


class Threads(ThreadServiceServicer):
    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    async def CreateThread(self, request: pb.CreateThreadRequest, context: Context) -> pb.CreateThreadResponse:
        fields = Fields()
        thread_id = fields.given_id("thread_id", request) or str(uuid7())
        metadata = fields.metadata("metadata", request.metadata)
        strategy, limit = _settings(fields, request)
        fields.check()
        decision = await self._store.change(commands.CreateThread(thread_id, metadata, strategy, limit))
        assert decision.thread is not None
        # Not read back: it may be gone by then.
        return pb.CreateThreadResponse(thread=wire.thread(ThreadRecord(decision.thread, ThreadStatus.IDLE, None, 0)))

    async def GetThread(self, request: pb.GetThreadRequest, context: Context) -> pb.GetThreadResponse:
        thread_id = _thread_id(request)
        return pb.GetThreadResponse(thread=wire.thread(await self._store.thread(thread_id)))

    async def ListThreads(self, request: pb.ListThreadsRequest, context: Context) -> pb.ListThreadsResponse:
        fields = Fields()
        statuses = fields.enums("statuses", request.statuses, wire.THREAD_STATUS)
        metadata = fields.metadata("metadata", request.metadata, MOST_FILTERS)
        binding = ("threads", sorted(request.statuses), metadata)
        size, after = fields.page(request, 1000, 100, (int, str), *binding)
        page = await self._store.threads(statuses, size, after, metadata)
        return pb.ListThreadsResponse(
            threads=map(wire.thread, page.items), next_page_token=wire.token(page.next, *binding)
        )

    async def UpdateThread(self, request: pb.UpdateThreadRequest, context: Context) -> pb.UpdateThreadResponse:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        strategy, limit = _settings(fields, request)
        changes: dict[str, Any] = {}
        if request.HasField("metadata"):
            changes["metadata"] = fields.metadata("metadata", request.metadata)
        if request.HasField("default_strategy"):
            changes["default_strategy"] = strategy
        if request.HasField("max_queued_runs"):
            changes["max_queued_runs"] = limit
        fields.check()
        await self._store.change(commands.UpdateThread(thread_id, changes))
        return pb.UpdateThreadResponse(thread=wire.thread(await self._store.thread(thread_id)))

    async def DeleteThread(self, request: pb.DeleteThreadRequest, context: Context) -> pb.DeleteThreadResponse:
        await self._store.change(commands.DeleteThread(_thread_id(request)))
        return pb.DeleteThreadResponse()

    async def GetState(self, request: pb.GetStateRequest, context: Context) -> pb.GetStateResponse:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        step = request.step if request.HasField("step") else None
        if step is not None and step < 0:
            fields.wrong("step", f"is {step}; steps are 0, 1, 2 …")
        fields.check()
        return pb.GetStateResponse(state=wire.state(await self._store.state(thread_id, step)))

    async def ListStates(self, request: pb.ListStatesRequest, context: Context) -> pb.ListStatesResponse:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        binding = ("states", thread_id)
        size, after = fields.page(request, 100, 20, (int,), *binding)
        page = await self._store.states(thread_id, size, after)
        return pb.ListStatesResponse(
            states=map(wire.state, page.items), next_page_token=wire.token(page.next, *binding)
        )

    async def UpdateState(self, request: pb.UpdateStateRequest, context: Context) -> pb.UpdateStateResponse:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        assistant_id = fields.given_id("assistant_id", request)
        if not request.HasField("values"):
            fields.wrong("values", "is required: the update, a JSON object")
        values = fields.json("values", request.values)
        fields.check()
        decision = await self._store.change(commands.UpdateState(thread_id, values, self._reducers(assistant_id)))
        state = await self._store.state(thread_id, decision.steps[-1].step)
        return pb.UpdateStateResponse(state=wire.state(state))

    async def WatchThread(
        self, request: pb.WatchThreadRequest, context: Context
    ) -> AsyncIterator[pb.WatchThreadResponse]:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        after = fields.sequence("after_sequence", request.after_sequence)
        fields.check()
        async with aclosing(self._feed.of_thread(thread_id, after)) as events:
            async for event in events:
                yield pb.WatchThreadResponse(event=event)

    def _reducers(self, assistant_id: str | None) -> Reducers:
        if assistant_id is None:
            return DEFAULT_REDUCERS
        assistant = self._store.assistant(assistant_id)
        if assistant is None:
            raise AssistantNotFound(assistant_id=assistant_id)
        return assistant.reducers


def _thread_id(request: pb.GetThreadRequest | pb.DeleteThreadRequest) -> str:
    fields = Fields()
    thread_id = fields.id("thread_id", request.thread_id)
    fields.check()
    return thread_id


def _settings(
    fields: Fields, request: pb.CreateThreadRequest | pb.UpdateThreadRequest
) -> tuple[Strategy | None, int | None]:
    strategy = fields.enum("default_strategy", request.default_strategy, wire.STRATEGY)
    limit = fields.count("max_queued_runs", request.max_queued_runs, LONGEST_QUEUE, 0)
    return strategy, limit or None
