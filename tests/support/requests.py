"""The scene of the tests of bad input: one good request of each method, and a server on which they are good."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.support.rpcs import METHODS, Refused, call, refused
from tests.support.server import Service, said

HOUR, LONGEST = 3600, 366 * 24 * 3600
MIB: Final = 1024 * 1024


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made


def objects(depth: int, made: Struct | None = None) -> Struct:
    """Objects in one another, so many in all."""
    made = Struct() if made is None else made
    innermost = made
    for _ in range(depth - 1):
        innermost = innermost.fields["a"].struct_value
    innermost.SetInParent()
    return made


def lists(depth: int, made: Struct | None = None) -> Struct:
    """An object, and lists in one another in it, so many in all."""
    made = Struct() if made is None else made
    innermost = made.fields["a"]
    for _ in range(depth - 2):
        innermost = innermost.list_value.values.add()
    innermost.list_value.SetInParent()
    return made


# One good request of each method. The thread `t` and its finished run are there; `new` is not.
GOOD: Final[dict[str, Message]] = {
    "CreateAssistant": apb.CreateAssistantRequest(assistant_id="new", graph="echo"),
    "GetAssistant": apb.GetAssistantRequest(assistant_id="echo"),
    "ListAssistants": apb.ListAssistantsRequest(),
    "DeleteAssistant": apb.DeleteAssistantRequest(assistant_id="echo"),
    "CreateThread": tpb.CreateThreadRequest(thread_id="new"),
    "GetThread": tpb.GetThreadRequest(thread_id="t"),
    "ListThreads": tpb.ListThreadsRequest(),
    "UpdateThread": tpb.UpdateThreadRequest(thread_id="t", metadata=struct({"a": 1})),
    "DeleteThread": tpb.DeleteThreadRequest(thread_id="t"),
    "GetState": tpb.GetStateRequest(thread_id="t"),
    "ListStates": tpb.ListStatesRequest(thread_id="t"),
    "UpdateState": tpb.UpdateStateRequest(thread_id="t", values=struct({"a": 1})),
    "CreateRun": rpb.CreateRunRequest(thread_id="t", assistant_id="echo"),
    "GetRun": rpb.GetRunRequest(),
    "ListRuns": rpb.ListRunsRequest(thread_id="t"),
    "JoinRun": rpb.JoinRunRequest(),
    "CancelRun": rpb.CancelRunRequest(),
    "DeleteRun": rpb.DeleteRunRequest(),
    "CancelRuns": rpb.CancelRunsRequest(thread_id="t"),
    "UpdateRun": rpb.UpdateRunRequest(metadata=struct({"a": 1})),
    "MoveRun": rpb.MoveRunRequest(first=True),
    "WatchThread": tpb.WatchThreadRequest(thread_id="t"),
    "WatchRun": rpb.WatchRunRequest(),
    "ClaimRun": wpb.ClaimRunRequest(worker_id="w", graphs=["remote"]),
    "CommitStep": wpb.CommitStepRequest(update=struct({"a": 1})),
    "PublishOutput": wpb.PublishOutputRequest(outputs=[pb.Output(channel="c", data=struct({"a": 1}))]),
    "Heartbeat": wpb.HeartbeatRequest(),
    "WatchLease": wpb.WatchLeaseRequest(),
    "FinishRun": wpb.FinishRunRequest(success=wpb.Success()),
    "ReleaseRun": wpb.ReleaseRunRequest(),
}


def workers(service: Service) -> Any:
    """The raw stub of WorkerService."""
    return WorkerServiceStub(service.channel)


@dataclass
class Scene:
    """A server with the thread `t`, which has one finished run and its two steps, the empty thread `other`, and on the
    thread `remote` a run that a worker has claimed, under `lease`. On the thread `line` the run `waiting` waits."""

    service: Service
    run_id: str
    lease: wpb.Lease
    waiting: str

    def good(self, method: str) -> Any:
        request: Any = type(GOOD[method])()
        request.CopyFrom(GOOD[method])
        if "run_id" in request.DESCRIPTOR.fields_by_name:
            request.run_id = self.waiting if method in ("UpdateRun", "MoveRun") else self.run_id
        if "lease" in request.DESCRIPTOR.fields_by_name:
            request.lease.CopyFrom(self.lease)
        return request

    async def refused(self, method: str, request: Message) -> Refused:
        return await refused(call(self.service.channel, METHODS[method], request))

    async def invalid(self, method: str, request: Message) -> dict[str, str]:
        """Call; what is wrong, by field."""
        error = await self.refused(method, request)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert set(error.rest) == {"BadRequest"}
        return error.metadata

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the database holds."""
        with closing(sqlite3.connect(f"file:{self.service.sqlite.path}?mode=ro", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}

    @asynccontextmanager
    async def unmoved(self) -> AsyncIterator[None]:
        """What happens inside writes nothing, and the server answers a good call afterwards."""
        before = self.dump()
        assert before["runs"]
        yield
        assert self.dump() == before
        assert (await self.service.client.threads.get("t"))["thread_id"] == "t"


@pytest.fixture
async def scene(service: Service) -> Scene:
    await service.client.threads.create("t")
    await service.client.threads.create("other")
    run = await service.client.runs.create("t", "echo", input=said("hello"))
    assert (await service.client.runs.join("t", run["run_id"]))["run"]["status"] == "success"
    await service.client.assistants.create("remote", assistant_id="remote")
    await service.client.threads.create("remote")
    await service.client.runs.create("remote", "remote", input={})
    claimed = await workers(service).ClaimRun(wpb.ClaimRunRequest(worker_id="w", graphs=["remote"]))
    waiting = await service.client.runs.create("line", "echo", delay=HOUR, if_thread_not_exists="create")
    return Scene(service, run["run_id"], claimed.assignment.lease, waiting["run_id"])


def changed(request: Any, **changes: Any) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        elif isinstance(value, Message):
            getattr(made, name).CopyFrom(value)
        else:
            setattr(made, name, value)
    return made
