"""RunService."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceServicer
from doubletext_server.grpc.edge import RpcContext
from doubletext_server.grpc.wire import reading, writing
from doubletext_server.grpc.wire.enums import CANCEL_ACTION, RUN_STATUS
from doubletext_server.grpc.wire.objects import chosen, exactly
from doubletext_server.usecases.editing import Editing
from doubletext_server.usecases.runs import Runs


class RunService(RunServiceServicer):
    def __init__(self, runs: Runs, editing: Editing) -> None:
        self._runs = runs
        self._editing = editing

    async def CreateRun(self, request: pb.CreateRunRequest, context: RpcContext) -> pb.CreateRunResponse:
        admission = await self._runs.create(reading.new_run(request))
        return writing.created_run(request, admission, chosen(request, context))

    async def UpdateRun(self, request: pb.UpdateRunRequest, context: RpcContext) -> pb.UpdateRunResponse:
        revision = reading.given(request, "expected_revision")
        record = await self._editing.update(request.run_id, reading.edit(request), request.thread_id, revision)
        return pb.UpdateRunResponse(run=writing.run(record, chosen(request, context)))

    async def MoveRun(self, request: pb.MoveRunRequest, context: RpcContext) -> pb.MoveRunResponse:
        revision = reading.given(request, "expected_revision")
        record = await self._editing.move(request.run_id, *reading.place(request), request.thread_id, revision)
        return pb.MoveRunResponse(run=writing.run(record, chosen(request, context)))

    async def CancelRuns(self, request: pb.CancelRunsRequest, context: RpcContext) -> pb.CancelRunsResponse:
        statuses = reading.filters(request.statuses, RUN_STATUS)
        action = reading.enum(request.action, CANCEL_ACTION)
        put = chosen(request, context)
        runs = await self._editing.cancel(request.thread_id, statuses, action)
        return pb.CancelRunsResponse(runs=[writing.run(run, put) for run in runs])

    async def GetRun(self, request: pb.GetRunRequest, context: RpcContext) -> pb.GetRunResponse:
        record = await self._runs.get(request.run_id, request.thread_id)
        return writing.found_run(record, exactly(request, context))

    async def ListRuns(self, request: pb.ListRunsRequest, context: RpcContext) -> pb.ListRunsResponse:
        statuses = reading.filters(request.statuses, RUN_STATUS)
        metadata = reading.json_object(request, "metadata")
        page = reading.page(request)
        listing = await self._runs.list(request.thread_id, statuses, metadata, page, oldest_first=request.oldest_first)
        put = chosen(request, context)
        runs = [writing.run(run, put) for run in listing.items]
        return pb.ListRunsResponse(runs=runs, next_page_token=listing.next_page_token)

    async def JoinRun(self, request: pb.JoinRunRequest, context: RpcContext) -> pb.JoinRunResponse:
        wait = reading.duration(request, "wait")
        run, state = await self._runs.join(request.run_id, request.thread_id, wait, follow=request.follow)
        return writing.joined_run(run, state, exactly(request, context))

    async def CancelRun(self, request: pb.CancelRunRequest, context: RpcContext) -> pb.CancelRunResponse:
        action = reading.enum(request.action, CANCEL_ACTION)
        wait = reading.duration(request, "wait")
        run = await self._runs.cancel(request.run_id, request.thread_id, action, wait)
        return pb.CancelRunResponse(run=writing.run(run, chosen(request, context)))

    async def DeleteRun(self, request: pb.DeleteRunRequest, context: RpcContext) -> pb.DeleteRunResponse:
        await self._runs.delete(request.run_id, request.thread_id)
        return pb.DeleteRunResponse()

    async def WatchRun(self, request: pb.WatchRunRequest, context: RpcContext) -> AsyncIterator[pb.WatchRunResponse]:
        watch = self._runs.watch(request.run_id, request.thread_id, request.after_sequence, live=request.live)
        event_of_run = writing.EVENT_OF_RUN[chosen(request, context)]
        async with aclosing(await watch) as pages:
            async for page in pages:
                for response in page.converted(event_of_run):
                    yield response
