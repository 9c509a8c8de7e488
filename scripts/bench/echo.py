"""What calls are measured against: a bare `grpc.aio` server on asyncio's own loop, which reads a real CreateRunRequest
and answers with a CreateRunResponse of the size of ours, doing nothing in between.

`python -m bench.echo` listens on a free port and says `listening on HOST:PORT`.
"""

import asyncio
import sys
from typing import Final
from uuid import UUID

import grpc

from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as pb

SERVICE: Final = "bench.Echo"
METHOD: Final = f"/{SERVICE}/Echo"


def answer() -> pb.CreateRunResponse:
    """What CreateRun answers for a run that was just accepted, field by field: as much to write and to read as ours."""
    run = resources.Run(
        run_id=str(UUID(int=1)),
        thread_id=str(UUID(int=2)),
        assistant_id="nobodys",
        status=resources.RUN_STATUS_PENDING,
        multitask_strategy=resources.MULTITASK_STRATEGY_ENQUEUE,
        input=to_struct({"messages": [{"role": "user", "content": "What's the weather in San Francisco today?"}]}),
        sequence=1,
        queue_position=1,
    )
    run.metadata.SetInParent()
    run.create_time.FromMicroseconds(1_700_000_000_123_456)
    run.due_time.FromMicroseconds(1_700_000_000_123_456)
    return pb.CreateRunResponse(run=run)


async def main() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    constant = answer()

    async def echo(
        request: pb.CreateRunRequest, context: grpc.aio.ServicerContext[pb.CreateRunRequest, pb.CreateRunResponse]
    ) -> pb.CreateRunResponse:
        return constant

    handler = grpc.unary_unary_rpc_method_handler(
        echo, pb.CreateRunRequest.FromString, pb.CreateRunResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"listening on 127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
