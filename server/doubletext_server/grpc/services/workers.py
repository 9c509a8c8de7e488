"""WorkerService."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceServicer
from doubletext_server.grpc.edge import LARGEST_RESPONSE, RpcContext
from doubletext_server.grpc.wire import reading, writing
from doubletext_server.grpc.wire.objects import chosen
from doubletext_server.usecases.workers import Workers
from doubletext_statemachine.errors import TooLarge


class WorkerService(WorkerServiceServicer):
    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def ClaimRun(self, request: pb.ClaimRunRequest, context: RpcContext) -> pb.ClaimRunResponse:
        wait, put = reading.duration(request, "wait"), chosen(request, context)
        while (assignment := await self._workers.claim(request.worker_id, request.graphs, wait)) is not None:
            response = pb.ClaimRunResponse(assignment=writing.assignment(assignment, put))
            if (size := response.ByteSize()) <= LARGEST_RESPONSE:
                return response
            await self._workers.give_up(assignment, TooLarge(what="the assignment", size=size, limit=LARGEST_RESPONSE))
        return pb.ClaimRunResponse()

    async def CommitStep(self, request: pb.CommitStepRequest, context: RpcContext) -> pb.CommitStepResponse:
        update = reading.given_object(request, "update")
        expected_step = reading.given(request, "expected_step")
        stepped = await self._workers.commit_step(reading.lease(request), update, expected_step, request.absorb)
        return writing.stepped(stepped, chosen(request, context))

    async def PublishOutput(self, request: pb.PublishOutputRequest, context: RpcContext) -> pb.PublishOutputResponse:
        outputs = reading.outputs(request)
        await self._workers.publish_output(reading.lease(request), outputs, live_only=request.live_only)
        return pb.PublishOutputResponse()

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: RpcContext) -> pb.HeartbeatResponse:
        return writing.renewal(await self._workers.heartbeat(reading.lease(request)), chosen(request, context))

    async def WatchLease(
        self, request: pb.WatchLeaseRequest, context: RpcContext
    ) -> AsyncIterator[pb.WatchLeaseResponse]:
        put = chosen(request, context)
        async with aclosing(self._workers.watch_lease(reading.lease(request))) as told:
            async for each in told:
                yield writing.told(each, put)

    async def FinishRun(self, request: pb.FinishRunRequest, context: RpcContext) -> pb.FinishRunResponse:
        run = await self._workers.finish(reading.lease(request), reading.outcome(request))
        return pb.FinishRunResponse(run=writing.run(run, chosen(request, context)))

    async def ReleaseRun(self, request: pb.ReleaseRunRequest, context: RpcContext) -> pb.ReleaseRunResponse:
        await self._workers.release(reading.lease(request))
        return pb.ReleaseRunResponse()
