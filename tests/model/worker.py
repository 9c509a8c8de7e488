"""WorkerService's calls by the raw stub, with answers and refusals as plain data."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, TypeAlias

import grpc

from doubletext import convert
from doubletext.errors import from_rpc_error
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.model.records import Json

Lease: TypeAlias = tuple[str, int]


class Worker:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = WorkerServiceStub(channel)

    async def _call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def claim(self, *graphs: str) -> Json | None:
        answer = await self._call("ClaimRun", pb.ClaimRunRequest(worker_id="hand", graphs=graphs))
        if not answer.HasField("assignment"):
            return None
        assignment = answer.assignment
        return {
            "lease": read_lease(assignment.lease),
            "run": convert.run(assignment.run),
            "assistant": convert.assistant(assignment.assistant),
            "state": convert.state(assignment.state),
        }

    async def commit(
        self, lease: Lease, update: Json | None, expected_step: int | None = None, absorb: Sequence[str] = ()
    ) -> Json:
        request = pb.CommitStepRequest(lease=made(lease), expected_step=expected_step, absorb=absorb)
        if update is not None:
            request.update_json = convert.text(update)
        answer = await self._call("CommitStep", request)
        return {"step": answer.step, "absorbed": ids(answer.absorbed), "steers": ids(answer.steers)}

    async def publish(self, lease: Lease, outputs: list[tuple[str, Json]]) -> None:
        shown = [resources.Output(channel=channel, data_json=convert.text(data)) for channel, data in outputs]
        await self._call("PublishOutput", pb.PublishOutputRequest(lease=made(lease), outputs=shown))

    async def beat(self, lease: Lease) -> Json:
        answer = await self._call("Heartbeat", pb.HeartbeatRequest(lease=made(lease)))
        stop = read_stop(answer.stop) if answer.HasField("stop") else None
        return {"lease": read_lease(answer.lease), "stop": stop, "steers": ids(answer.steers)}

    async def finish(self, lease: Lease, outcome: Json) -> Json:
        request = pb.FinishRunRequest(lease=made(lease))
        if "error" in outcome:
            request.error.CopyFrom(resources.RunError(**outcome["error"]))
        else:
            request.success.CopyFrom(pb.Success(update_json=convert.text(outcome["update"])))
        return dict(convert.run((await self._call("FinishRun", request)).run))

    async def release(self, lease: Lease) -> None:
        await self._call("ReleaseRun", pb.ReleaseRunRequest(lease=made(lease)))

    async def watch(self, lease: Lease) -> AsyncGenerator[Json, None]:
        """The stops that a WatchLease tells."""
        call = self._stub.WatchLease(pb.WatchLeaseRequest(lease=made(lease)))
        try:
            async for answer in call:
                if answer.HasField("stop"):
                    yield read_stop(answer.stop)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()


def ids(steers: Iterable[pb.Steer]) -> list[str]:
    return [steer.run_id for steer in steers]


def made(lease: Lease) -> pb.Lease:
    return pb.Lease(run_id=lease[0], epoch=lease[1])


def read_lease(lease: pb.Lease) -> Json:
    return {"run_id": lease.run_id, "epoch": lease.epoch, "expire_time": lease.expire_time.ToJsonString()}


def read_stop(stop: pb.Stop) -> Json:
    return {"reason": stop.reason, "superseded_by": stop.superseded_by, "grace": convert.seconds(stop.grace)}
