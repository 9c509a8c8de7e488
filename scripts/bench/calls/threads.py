"""Calls on threads that have a past: many messages, or many runs in line."""

import asyncio
from itertools import cycle
from time import perf_counter
from typing import Any

import grpc

from bench.calls.requests import Call, Note, make_assistant, new_run
from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as runs_pb
from doubletext.v1 import worker_service_pb2 as workers_pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub


async def turn_on(channel: grpc.aio.Channel, note: Note, threads: list[str], graph: str) -> Call:
    """A turn on one of the threads after the other: CreateRun, then WatchRun up to the event that makes the run final.

    The state is not asked for, as JoinRun would.
    """
    stub: Any = RunServiceStub(channel)
    targets = cycle(threads)

    async def call() -> None:
        created = await stub.CreateRun(new_run(next(targets), graph))
        status = resources.RUN_STATUS_UNSPECIFIED
        async for response in stub.WatchRun(runs_pb.WatchRunRequest(run_id=created.run.run_id)):
            if response.event.HasField("run_changed"):
                status = response.event.run_changed.to
        assert status == resources.RUN_STATUS_SUCCESS

    return call


async def queue(channel: grpc.aio.Channel, note: Note, thread_id: str, graph: str) -> Call:
    """On a thread with a line of runs: a step of the running one, one more run at the end, and the next one's turn.

    The hand that executes them is the caller's own, over WorkerService. The line stays as long as it was.
    """
    runs: Any = RunServiceStub(channel)
    workers: Any = WorkerServiceStub(channel)
    update = to_struct({"messages": [{"role": "assistant", "content": "I am still looking."}]})
    await make_assistant(channel, graph)

    async def claim() -> workers_pb.Assignment:
        request = workers_pb.ClaimRunRequest(worker_id="bench", graphs=[graph])
        request.wait.seconds = 60
        answer = await workers.ClaimRun(request)
        assert answer.assignment.run.thread_id == thread_id
        return answer.assignment  # type: ignore[no-any-return]

    held = await claim()

    async def call() -> None:
        nonlocal held
        began = perf_counter()
        await workers.CommitStep(workers_pb.CommitStepRequest(lease=held.lease, update=update))
        note("CommitStep", perf_counter() - began)
        began = perf_counter()
        await runs.CreateRun(new_run(thread_id, graph))
        note("CreateRun", perf_counter() - began)
        claiming = asyncio.create_task(claim())
        await asyncio.sleep(0)
        request = workers_pb.FinishRunRequest(lease=held.lease)
        request.success.SetInParent()
        began = perf_counter()
        await asyncio.gather(workers.FinishRun(request), claiming)
        held = claiming.result()
        note("finish to next start", perf_counter() - began)

    return call
