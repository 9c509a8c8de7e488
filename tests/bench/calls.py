"""What a load process calls, over raw stubs. Each maker prepares what its calls need, and returns the call.

A call raises when it was not answered as it should be: an answer that comes fast because nothing was done is no figure.
"""

from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any, Final, TypeAlias
from uuid import uuid4

import grpc

from doubletext.structs import to_struct
from doubletext.v1 import assistant_service_pb2 as assistants_pb
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as runs_pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub
from doubletext.v1.run_service_pb2_grpc import RunServiceStub
from tests.bench.echo import METHOD

Call: TypeAlias = Callable[[], Awaitable[object]]
Note: TypeAlias = Callable[[str, float], None]

QUESTION: Final = to_struct({"messages": [{"role": "user", "content": "What's the weather in San Francisco today?"}]})
NOBODYS: Final = "nobodys"
"""A graph that nobody executes: its runs stay pending, so that accepting them is all that is measured."""


def new_run(thread_id: str, assistant_id: str = NOBODYS, **more: Any) -> runs_pb.CreateRunRequest:
    return runs_pb.CreateRunRequest(
        thread_id=thread_id,
        assistant_id=assistant_id,
        input=QUESTION,
        if_thread_not_exists=resources.IF_THREAD_NOT_EXISTS_CREATE,
        **more,
    )


async def make_assistant(channel: grpc.aio.Channel, name: str = NOBODYS, **more: Any) -> None:
    request = assistants_pb.CreateAssistantRequest(assistant_id=name, graph=name, **more)
    stub: Any = AssistantServiceStub(channel)
    try:
        await stub.CreateAssistant(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


class Names:
    """Names of threads that no one has had before."""

    def __init__(self) -> None:
        self._own = uuid4().hex[:12]
        self._last = 0

    def next(self) -> str:
        self._last += 1
        return f"{self._own}-{self._last}"


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


async def create(channel: grpc.aio.Channel, note: Note) -> Call:
    """CreateRun, each on a thread of its own that is made by the call."""
    await make_assistant(channel)
    stub: Any = RunServiceStub(channel)
    names = Names()

    async def call() -> None:
        answer = await stub.CreateRun(new_run(names.next()))
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
    stub: Any = RunServiceStub(channel)
    names = Names()

    async def call() -> None:
        created = await stub.CreateRun(new_run(names.next(), assistant_id))
        joined = await stub.JoinRun(runs_pb.JoinRunRequest(run_id=created.run.run_id))
        assert joined.run.status == resources.RUN_STATUS_SUCCESS
        assert len(joined.state.values["messages"]) == 2

    return call


CALLS: Final[dict[str, Callable[..., Awaitable[Call]]]] = {
    each.__name__: each for each in (echo, create, get, refused, turn)
}
