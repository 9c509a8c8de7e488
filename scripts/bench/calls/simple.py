"""One request, or two: what most workloads call."""

from itertools import cycle
from typing import Any

import grpc

from bench.calls.requests import Call, Names, Note, make_assistant, new_run
from bench.echo import METHOD
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as runs_pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub


async def echo(channel: grpc.aio.Channel, note: Note) -> Call:
    """CreateRun's request to the bare server."""
    method = channel.unary_unary(
        METHOD, runs_pb.CreateRunRequest.SerializeToString, runs_pb.CreateRunResponse.FromString
    )
    names = Names()

    async def call() -> None:
        answer = await method(new_run(names.next()))
        assert answer.run.run_id

    return call


async def create(channel: grpc.aio.Channel, note: Note, threads: list[str] | None = None) -> Call:
    """CreateRun, each on a thread of its own that is made by the call, or on `threads`, one after the other."""
    await make_assistant(channel)
    stub: Any = RunServiceStub(channel)
    names = Names()
    targets = cycle(threads) if threads else iter(names.next, "")

    async def call() -> None:
        answer = await stub.CreateRun(new_run(next(targets)))
        assert answer.run.status == resources.RUN_STATUS_PENDING

    return call


async def get(channel: grpc.aio.Channel, note: Note, runs: int = 1000) -> Call:
    """GetRun of one of so many runs after the other."""
    await make_assistant(channel)
    stub: Any = RunServiceStub(channel)
    names = Names()
    ids = [(await stub.CreateRun(new_run(names.next()))).run.run_id for _ in range(runs)]
    requests = cycle([runs_pb.GetRunRequest(run_id=run_id) for run_id in ids])

    async def call() -> None:
        request = next(requests)
        answer = await stub.GetRun(request)
        assert answer.run.run_id == request.run_id

    return call


async def refused(channel: grpc.aio.Channel, note: Note, threads: int = 64) -> Call:
    """CreateRun with REJECT, on threads that are busy."""
    await make_assistant(channel)
    stub: Any = RunServiceStub(channel)
    names = Names()
    busy = [names.next() for _ in range(threads)]
    for thread_id in busy:
        await stub.CreateRun(new_run(thread_id))
    targets = cycle(busy)

    async def call() -> None:
        try:
            await stub.CreateRun(new_run(next(targets), multitask_strategy=resources.MULTITASK_STRATEGY_REJECT))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        else:
            raise AssertionError("a run was accepted on a busy thread")

    return call


async def turn(channel: grpc.aio.Channel, note: Note, assistant_id: str = "echo") -> Call:
    """CreateRun on a thread of its own, then JoinRun until it has succeeded."""
    await make_assistant(channel, assistant_id)
    stub: Any = RunServiceStub(channel)
    names = Names()

    async def call() -> None:
        created = await stub.CreateRun(new_run(names.next(), assistant_id))
        joined = await stub.JoinRun(runs_pb.JoinRunRequest(run_id=created.run.run_id))
        assert joined.run.status == resources.RUN_STATUS_SUCCESS
        assert len(joined.state.values["messages"]) == 2

    return call
