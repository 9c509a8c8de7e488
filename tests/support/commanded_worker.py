"""A worker process that does what it is told: each line on stdin names a call, each line on stdout is its answer.

Once it has claimed, it keeps a WatchLease open.   python -m tests.support.commanded_worker HOST:PORT
"""

import asyncio
import json
import sys
from typing import Any

import grpc

from doubletext.convert import duration
from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.support.rpcs import read


async def answer(call: Any) -> dict[str, Any]:
    """What came, in short: "ok", or the refusal's reason and metadata."""
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        if error.trailing_metadata() is None or error.code() is grpc.StatusCode.UNAVAILABLE:
            return {"reason": error.code().name}
        refused = read(error)
        return {"code": refused.code, "reason": refused.reason, **refused.metadata}
    return {"reason": "ok"}


async def main(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = WorkerServiceStub(channel)
        lease, watching = pb.Lease(), None

        def of(call: str) -> Any:
            step = to_struct({"messages": [{"role": "assistant", "content": call}]})
            match call:
                case "publish":
                    output = resources.Output(channel="c", data=step)
                    return stub.PublishOutput(pb.PublishOutputRequest(lease=lease, outputs=[output]))
                case "beat":
                    return stub.Heartbeat(pb.HeartbeatRequest(lease=lease))
                case "watch":
                    return stub.WatchLease(pb.WatchLeaseRequest(lease=lease))
                case "finish":
                    return stub.FinishRun(pb.FinishRunRequest(lease=lease, success=pb.Success()))
                case "fail":
                    return stub.FinishRun(pb.FinishRunRequest(lease=lease, error=resources.RunError(type="Late")))
                case "release":
                    return stub.ReleaseRun(pb.ReleaseRunRequest(lease=lease))
            return stub.CommitStep(pb.CommitStepRequest(lease=lease, update=step))

        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "claim":
                request = pb.ClaimRunRequest(worker_id="byhand", graphs=["counting"], wait=duration(30))
                assignment = (await stub.ClaimRun(request)).assignment
                lease = assignment.lease
                watching = of("watch")
                asyncio.ensure_future(watching.read()).add_done_callback(
                    lambda read: read.cancelled() or read.exception()
                )
                said = {"run_id": lease.run_id, "attempt": assignment.run.attempt, "step": assignment.state.step}
            else:
                said = await answer(of(line))
            print(json.dumps(said), flush=True)  # noqa: T201 - it is how it answers


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
