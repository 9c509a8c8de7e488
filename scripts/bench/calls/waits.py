"""How long one thing waits for another: moments that the bench's graphs take down, beside the client's own.

All of them are CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

import asyncio
from time import monotonic
from typing import Any, Final

import grpc

from bench.calls.requests import Call, Names, Note
from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub

GAP: Final = "gap"
"""The series of what was waited for."""

IN_LINE: Final = 10


def _run(thread_id: str, graph: str, **more: Any) -> pb.CreateRunRequest:
    given = to_struct({key: more.pop(key) for key in ("seconds", "endless") if key in more})
    create = resources.IF_THREAD_NOT_EXISTS_CREATE
    return pb.CreateRunRequest(
        thread_id=thread_id, assistant_id=graph, input=given, if_thread_not_exists=create, **more
    )


async def _stamps(stub: Any, run_id: str) -> dict[str, list[float]]:
    """The moments that each graph of the thread took down, by its run, once this one has succeeded."""
    joined = await stub.JoinRun(pb.JoinRunRequest(run_id=run_id))
    assert joined.run.status == resources.RUN_STATUS_SUCCESS
    return {key: list(value) for key, value in joined.state.values.items() if key not in ("seconds", "endless")}


async def next_in_line(channel: grpc.aio.Channel, note: Note) -> Call:
    """A queue on a new thread: from each graph's return to the first line of the next one's code."""
    stub: Any = RunServiceStub(channel)
    names = Names()

    async def call() -> None:
        thread_id, accepted = names.next(), {}
        for place in range(IN_LINE):
            request = _run(thread_id, "stamped", seconds=0 if place else 0.2)
            run_id = (await stub.CreateRun(request)).run.run_id
            accepted[run_id] = monotonic()
        stamps = await _stamps(stub, run_id)
        assert stamps.keys() == accepted.keys()
        for before, after in zip(list(accepted)[:-1], list(accepted)[1:], strict=True):
            if accepted[after] < stamps[before][1]:  # else it was not in line yet
                note(GAP, stamps[after][0] - stamps[before][1])

    return call


async def superseded(channel: grpc.aio.Channel, note: Note, strategy: str) -> Call:
    """A run that sleeps is superseded: from the sending of that CreateRun to the first line of the successor's code."""
    stub: Any = RunServiceStub(channel)
    names = Names()
    strategy = getattr(resources, f"MULTITASK_STRATEGY_{strategy}")

    async def call() -> None:
        thread_id = names.next()
        first = (await stub.CreateRun(_run(thread_id, "cooperative", endless=True))).run.run_id
        watching = stub.WatchRun(pb.WatchRunRequest(run_id=first))
        async for response in watching:
            if response.event.step_committed.step > 1:  # the input's is the first: the graph is at work
                break
        watching.cancel()  # else it is one of the calls that the connection has, until it is read to its end
        sent = monotonic()
        request = _run(thread_id, "cooperative", endless=False, multitask_strategy=strategy)
        second = await stub.CreateRun(request)
        assert [run.run_id for run in second.superseded] == [first]
        note(GAP, (await _stamps(stub, second.run.run_id))[second.run.run_id][0] - sent)

    return call


async def joined(channel: grpc.aio.Channel, note: Note) -> Call:
    """A run is joined while its graph sleeps: from the graph's return to JoinRun's answer, the last commit included."""
    stub: Any = RunServiceStub(channel)
    names = Names()

    async def call() -> None:
        created = await stub.CreateRun(_run(names.next(), "stamped", seconds=0.03))
        waiting = asyncio.create_task(_stamps(stub, created.run.run_id))
        stamps = await waiting
        note(GAP, monotonic() - stamps[created.run.run_id][1])

    return call
