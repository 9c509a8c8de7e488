"""Callers who wait for runs that do not end."""

import asyncio
from typing import Any

import grpc

from bench.calls.requests import Call, Names, Note, make_assistant, new_run
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub

AT_ONCE = 64


async def joiners(channel: grpc.aio.Channel, note: Note, count: int) -> Call:
    """Makes so many pending runs, each on a thread of its own. Each call leaves a JoinRun of one of them behind, which
    stays open as long as the process."""
    await make_assistant(channel)
    stub: Any = RunServiceStub(channel)
    names = Names()
    ids: list[str] = []

    async def fill() -> None:
        while len(ids) < count:
            ids.append("")
            place = len(ids) - 1
            ids[place] = (await stub.CreateRun(new_run(names.next()))).run.run_id

    await asyncio.gather(*(fill() for _ in range(AT_ONCE)))
    waiting: list[Any] = []

    async def call() -> None:
        waiting.append(stub.JoinRun(pb.JoinRunRequest(run_id=ids[len(waiting)])))
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting[-AT_ONCE:])

    return call
