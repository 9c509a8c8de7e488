"""What a service sees in an ordinary hour, all at once and on the same threads."""

import random
from time import perf_counter
from typing import Any, Final

import grpc

from bench.calls.requests import Call, Names, Note, new_run
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub

KINDS: Final = ("create + join", "reject", "interrupt", "rollback")
WEIGHTS: Final = (70, 10, 10, 10)
CALLS_EACH: Final = 20
"""After so many calls on a thread a new one takes its place: answers bring the state along, and would grow for ever."""

MADE_WAY: Final = (resources.RUN_STATUS_INTERRUPTED, resources.RUN_STATUS_DELETED)
"""How a joined run may end beside SUCCESS here: another call superseded it."""


async def mixed(channel: grpc.aio.Channel, note: Note, threads: int) -> Call:
    """A turn, or a CreateRun with one of the other strategies, on one of the threads. Notes each kind by itself."""
    stub: Any = RunServiceStub(channel)
    draw, names = random.Random(1), Names()
    ids = [names.next() for _ in range(threads)]

    used = [0] * threads

    def some_thread() -> str:
        place = draw.randrange(threads)
        used[place] += 1
        if used[place] > CALLS_EACH:
            ids[place], used[place] = names.next(), 1
        return ids[place]

    async def turn(thread_id: str) -> None:
        created = await stub.CreateRun(new_run(thread_id, "echo"))
        try:
            joined = await stub.JoinRun(pb.JoinRunRequest(run_id=created.run.run_id))
        except grpc.aio.AioRpcError as error:  # rolled back before it was joined
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            assert joined.run.status in (resources.RUN_STATUS_SUCCESS, *MADE_WAY)

    async def create(thread_id: str, kind: str) -> None:
        strategy = getattr(resources, f"MULTITASK_STRATEGY_{kind.upper()}")
        try:
            await stub.CreateRun(new_run(thread_id, "echo", multitask_strategy=strategy))
        except grpc.aio.AioRpcError as error:
            if kind != "reject" or error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    async def call() -> None:
        (kind,), thread_id, began = draw.choices(KINDS, WEIGHTS), some_thread(), perf_counter()
        await (turn(thread_id) if kind == KINDS[0] else create(thread_id, kind))
        note(kind, perf_counter() - began)

    return call
