"""A worker by hand: each call of the protocol made when a test says so, with the raw stub, on a clock that it moves."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from doubletext import convert
from doubletext.structs import to_struct
from doubletext.types import CreatedRun
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from doubletext_server.clock import system_clock
from doubletext_statemachine.commands import Tick
from tests.support.server import Service, said, serving

GRAPH = "remote"
"""No graph of that name is anywhere: only who claims it by hand gets its runs."""


@asynccontextmanager
async def scene(
    db: Path, clock: Callable[[], int] = system_clock, lease: float = 15, **assistant: Any
) -> AsyncIterator[Service]:
    """A server with the thread `t` and the assistant `remote`, whose options are given."""
    async with serving(db, clock=clock, lease=lease) as service:
        await service.client.assistants.create(GRAPH, assistant_id=GRAPH, **assistant)
        await service.client.threads.create("t")
        yield service


def stub(service: Service) -> Any:
    return WorkerServiceStub(service.channel)


def message(text: str) -> Struct:
    update = to_struct({"messages": [{"role": "assistant", "content": text}]})
    assert update is not None
    return update


class Held:
    """A lease, or what was one, and the calls that present it."""

    def __init__(self, service: Service, assignment: pb.Assignment) -> None:
        self.stub = stub(service)
        self.assignment = assignment
        self.run = assignment.run
        self.lease = assignment.lease

    def guessed(self, run_id: str | None = None, epoch: int | None = None) -> "Held":
        """The same hand with another lease, which nobody gave it."""
        assignment = pb.Assignment()
        assignment.CopyFrom(self.assignment)
        assignment.lease.run_id = self.lease.run_id if run_id is None else run_id
        assignment.lease.epoch = self.lease.epoch if epoch is None else epoch
        other = Held.__new__(Held)
        other.stub, other.assignment, other.run, other.lease = self.stub, assignment, assignment.run, assignment.lease
        return other

    def commit(self, text: str = "late", expected_step: int | None = None) -> Any:
        request = pb.CommitStepRequest(lease=self.lease, update=message(text), expected_step=expected_step)
        return self.stub.CommitStep(request)

    def publish(self, text: str = "late") -> Any:
        output = resources.Output(channel="tokens", data=message(text))
        return self.stub.PublishOutput(pb.PublishOutputRequest(lease=self.lease, outputs=[output]))

    def beat(self) -> Any:
        return self.stub.Heartbeat(pb.HeartbeatRequest(lease=self.lease))

    def watch(self) -> Any:
        return self.stub.WatchLease(pb.WatchLeaseRequest(lease=self.lease))

    def succeed(self, text: str | None = None) -> Any:
        success = pb.Success(update=None if text is None else message(text))
        return self.stub.FinishRun(pb.FinishRunRequest(lease=self.lease, success=success))

    def fail(self, text: str = "late") -> Any:
        error = resources.RunError(type="LateError", message=text)
        return self.stub.FinishRun(pb.FinishRunRequest(lease=self.lease, error=error))

    def release(self) -> Any:
        return self.stub.ReleaseRun(pb.ReleaseRunRequest(lease=self.lease))


async def claim(
    service: Service, *graphs: str, wait: float | None = None, worker_id: str = "hand", deadline: float = 20
) -> Held | None:
    """Claim a run of `remote`, or of the graphs given; None when there is none."""
    request = pb.ClaimRunRequest(worker_id=worker_id, graphs=graphs or (GRAPH,), wait=convert.duration(wait))
    answer = await stub(service).ClaimRun(request, timeout=deadline)
    return Held(service, answer.assignment) if answer.HasField("assignment") else None


async def claimed(service: Service, *graphs: str, worker_id: str = "hand") -> Held:
    """Claim a run that is there, or is about to be."""
    held = await claim(service, *graphs, wait=10, worker_id=worker_id)
    assert held is not None, "there was nothing to claim"
    return held


async def say(service: Service, text: str, strategy: Any = None, *, thread: str = "t", **options: Any) -> CreatedRun:
    """Create a run of `remote`."""
    assistant = options.pop("assistant", GRAPH)
    return await service.client.runs.create(thread, assistant, input=said(text), multitask_strategy=strategy, **options)


async def begun(service: Service, text: str = "a", *, thread: str = "t", **options: Any) -> Held:
    """Create a run and claim it."""
    run = await say(service, text, thread=thread, **options)
    held = await claimed(service)
    assert held.run.run_id == run["run_id"]
    return held


async def tick(service: Service, thread_id: str = "t") -> None:
    """Let the server see what the clock says, as its timer does."""
    await service.app.changes.change(Tick(thread_id))


def claimers(service: Service, graph: str = GRAPH) -> int:
    """How many wait for a run of the graph."""
    return sum(graph in graphs for graphs in service.app.dispatcher._claimers.values())


async def waiting(service: Service, count: int = 1) -> None:
    """Wait until so many claimers wait."""
    while claimers(service) < count:
        await service.client.threads.get("t")


def is_watched(service: Service, held: Held) -> bool:
    """Whether the server has a WatchLease of the lease open."""
    return held.lease.run_id in service.app.hub._by_run


async def watching(service: Service, held: Held) -> None:
    """Wait until the server has a WatchLease of the lease open."""
    while not is_watched(service, held):
        await held.beat()


def seconds(duration: Duration) -> float:
    return convert.seconds(duration)


def dump(service: Service) -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds."""
    with closing(sqlite3.connect(f"file:{service.sqlite.path}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}
