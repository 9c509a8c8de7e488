"""The server as a stranger finds it: reflection, health, and the tools that need nothing else."""

import asyncio
import base64
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from doubletext import Client, Context, NotReady, graph
from doubletext.samples import BUILT_IN
from doubletext_server.app import App
from doubletext_server.config import Config
from doubletext_statemachine.words import RunStatus
from tests.support.server import Service, gates, said

OURS: Final = {
    "doubletext.v1.AssistantService": {"CreateAssistant", "GetAssistant", "ListAssistants", "DeleteAssistant"},
    "doubletext.v1.ThreadService": {"CreateThread", "GetThread", "ListThreads", "UpdateThread", "DeleteThread"}
    | {"GetState", "ListStates", "UpdateState", "WatchThread"},
    "doubletext.v1.RunService": {"CreateRun", "GetRun", "ListRuns", "JoinRun", "CancelRun", "DeleteRun", "WatchRun"}
    | {"CancelRuns", "UpdateRun", "MoveRun"},
    "doubletext.v1.WorkerService": {"ClaimRun", "CommitStep", "PublishOutput", "Heartbeat", "WatchLease", "FinishRun"}
    | {"ReleaseRun"},
}
REFLECTIONS: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SERVICES: Final = {*OURS, "grpc.health.v1.Health", *REFLECTIONS}

HOW_TO_GET: Final = {
    "grpcurl": "grpcurl is missing: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
    "buf": "buf is missing: pip install buf-bin",
}


def program(name: str) -> str:
    """The path of a tool, from PATH or from beside this Python. Skips the test when it is in neither."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), beside)))
    if found is None:
        pytest.skip(HOW_TO_GET[name])
    return found


async def output(*command: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass
class Failure:
    """What a tool tells of an error: its exit code, the status code as it writes it, reason and facts of ErrorInfo."""

    exit_code: int
    code: int | str
    reason: str
    metadata: dict[str, str]


class Grpcurl:
    """ErrorInfo is spelled out; the exit code is 64 and the status code."""

    ALREADY_EXISTS: Final = (64 + 6, 6)
    NOT_FOUND: Final = (64 + 5, 5)

    def __init__(self, address: str) -> None:
        self.address = address
        self.program = program("grpcurl")

    async def services(self) -> set[str]:
        code, out, err = await output(self.program, "-plaintext", self.address, "list")
        assert code == 0, err
        return set(out.split())

    async def methods(self, service: str) -> set[str]:
        code, out, err = await output(self.program, "-plaintext", self.address, "describe", service)
        assert code == 0, err
        return {line.split()[1] for line in out.splitlines() if line.strip().startswith("rpc ")}

    async def call(self, method: str, **request: Any) -> Any:
        command = (self.program, "-plaintext", "-format-error", "-d", json.dumps(request), self.address)
        code, out, err = await output(*command, f"doubletext.v1.{method}")
        if code:
            error = json.loads(err)
            details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
            return Failure(code, error["code"], details["ErrorInfo"]["reason"], details["ErrorInfo"]["metadata"])
        return json.loads(out)


class Buf:
    """Details come as bytes in base64; the exit code is 8 times the status code."""

    ALREADY_EXISTS: Final = (8 * 6, "already_exists")
    NOT_FOUND: Final = (8 * 5, "not_found")

    def __init__(self, address: str) -> None:
        self.url = f"http://{address}"
        self.command = (program("buf"), "curl", "--http2-prior-knowledge", "--protocol", "grpc")

    async def services(self) -> set[str]:
        code, out, err = await output(*self.command, "--list-services", self.url)
        assert code == 0, err
        return set(out.split())

    async def methods(self, service: str) -> set[str]:
        code, out, err = await output(*self.command, "--list-methods", self.url)
        assert code == 0, err
        return {name for found, _, name in (line.rpartition("/") for line in out.split()) if found == service}

    async def call(self, method: str, **request: Any) -> Any:
        code, out, err = await output(*self.command, "-d", json.dumps(request), f"{self.url}/doubletext.v1.{method}")
        if code:
            error = json.loads(err)
            details = {detail["type"]: detail["value"] for detail in error["details"]}
            packed = details["google.rpc.ErrorInfo"]
            info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
            return Failure(code, error["code"], info.reason, dict(info.metadata))
        return json.loads(out)


Tool = Grpcurl | Buf


@pytest.fixture(params=[Grpcurl, Buf], ids=["grpcurl", "buf-curl"])
def tool(service: Service, request: pytest.FixtureRequest) -> Any:
    return request.param(service.app.address)


async def test_a_tool_lists_every_service(tool: Tool) -> None:
    assert await tool.services() == SERVICES


@pytest.mark.parametrize("name", OURS)
async def test_a_tool_describes_each_service(tool: Tool, name: str) -> None:
    assert await tool.methods(name) == OURS[name]


async def test_grpcurl_describes_methods_and_messages_by_name(service: Service) -> None:
    tool = Grpcurl(service.app.address)
    for name, methods in OURS.items():
        for method in methods:
            assert await tool.methods(f"{name}.{method}") == {method}
    code, out, err = await output(tool.program, "-plaintext", tool.address, "describe", "doubletext.v1.Thread")
    assert code == 0, err
    assert "max_queued_runs" in out


# The four strategies, with nothing but the tool


async def say(tool: Tool, text: str, strategy: str, **more: Any) -> Any:
    given = {"thread_id": "t", "assistant_id": "agent", "multitask_strategy": f"MULTITASK_STRATEGY_{strategy}"}
    return await tool.call("RunService/CreateRun", **given, input={**said(text), **more})


async def questions(tool: Tool) -> list[str]:
    state = (await tool.call("ThreadService/GetState", thread_id="t"))["state"]
    return [message["content"] for message in state["values"]["messages"] if message["role"] == "user"]


async def join(tool: Tool, answer: Any) -> str:
    joined = await tool.call("RunService/JoinRun", run_id=run_id(answer))
    return str(joined["run"]["status"]).removeprefix("RUN_STATUS_")


def run_id(answer: Any) -> str:
    run = answer["run"]
    return str(run.get("run_id") or run["runId"])


@pytest.fixture
async def first(service: Service, tool: Tool) -> Any:
    """A run on the thread `t` that sleeps before it answers; it is at work."""
    await tool.call("ThreadService/CreateThread", thread_id="t")
    with service.commit(lambda decision: any(run.status is RunStatus.RUNNING for run in decision.moved)) as started:
        answer = await say(tool, "sf?", "ENQUEUE", sleep=60)
        await started
    return answer


async def test_reject_by_hand_shows_which_run_is_in_the_way(tool: Tool, first: Any) -> None:
    refused = await say(tool, "nyc?", "REJECT")
    assert isinstance(refused, Failure)
    assert (refused.exit_code, refused.code) == tool.ALREADY_EXISTS
    assert refused.reason == "THREAD_BUSY"
    assert refused.metadata == {
        "thread_id": "t",
        "active_run_id": run_id(first),
        "active_run_status": "running",
        "in_flight_runs": "1",
    }


async def test_interrupt_by_hand_keeps_the_first_question(tool: Tool, first: Any) -> None:
    second = await say(tool, "nyc?", "INTERRUPT")
    assert [run_id({"run": run}) for run in second["superseded"]] == [run_id(first)]
    assert await join(tool, second) == "SUCCESS"
    assert await join(tool, first) == "INTERRUPTED"
    assert await questions(tool) == ["sf?", "nyc?"]


async def test_rollback_by_hand_leaves_nothing_of_the_first_run(tool: Tool, first: Any) -> None:
    second = await say(tool, "nyc?", "ROLLBACK")
    assert second["superseded"][0]["status"] == "RUN_STATUS_DELETED"
    assert await join(tool, second) == "SUCCESS"
    gone = await tool.call("RunService/GetRun", run_id=run_id(first))
    assert (gone.exit_code, gone.code, gone.reason) == (*tool.NOT_FOUND, "RUN_ROLLED_BACK")
    assert gone.metadata["superseded_by"] == run_id(second)
    assert await questions(tool) == ["nyc?"]


async def test_enqueue_by_hand_waits_its_turn(tool: Tool, first: Any) -> None:
    second = await say(tool, "nyc?", "ENQUEUE")
    assert second["run"].get("queue_position", second["run"].get("queuePosition")) == 1
    await tool.call("RunService/CancelRun", run_id=run_id(first))
    assert await join(tool, second) == "SUCCESS"
    assert await questions(tool) == ["sf?", "nyc?"]


# Reflection, from Python


async def reflected(channel: grpc.aio.Channel, service: str, **ask: str) -> Any:
    multi: Any = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answers = [answer async for answer in multi(iter([reflection_pb2.ServerReflectionRequest(**ask)]))]
    assert len(answers) == 1
    return answers[0]


@pytest.mark.parametrize("version", REFLECTIONS)
async def test_both_versions_of_reflection_list_and_describe_every_service(service: Service, version: str) -> None:
    listed = await reflected(service.channel, version, list_services="")
    assert {each.name for each in listed.list_services_response.service} == SERVICES
    for name in SERVICES:
        found = await reflected(service.channel, version, file_containing_symbol=name)
        files = [FileDescriptorProto.FromString(data) for data in found.file_descriptor_response.file_descriptor_proto]
        described = {f"{file.package}.{each.name}": each for file in files for each in file.service}
        assert {method.name for method in described[name].method} >= OURS.get(name, set())


@pytest.mark.parametrize("version", REFLECTIONS)
@pytest.mark.parametrize("symbol", ["no.such.Service", "doubletext.v1.RunService.NoMethod", "NoName", ""])
async def test_reflection_says_what_it_does_not_know(service: Service, version: str, symbol: str) -> None:
    answer = await reflected(service.channel, version, file_containing_symbol=symbol)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


# Health


SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, name: str) -> int:
    check: Any = health_pb2_grpc.HealthStub(channel).Check
    status: int = (await check(health_pb2.HealthCheckRequest(service=name))).status
    return status


@pytest.mark.parametrize("name", ["", *OURS])
async def test_the_whole_and_each_service_are_healthy(service: Service, name: str) -> None:
    assert await health(service.channel, name) == SERVING


async def test_the_health_of_an_unknown_service_is_not_found(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(service.channel, "doubletext.v1.NoService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@graph
async def deaf(ctx: Context) -> None:
    """Tells that it is at work, and does not listen when it is told to stop."""
    gates["at work"].set()
    while not gates["let go"].is_set():
        with suppress(asyncio.CancelledError):
            await gates["let go"].wait()


async def test_while_it_drains_a_server_is_not_healthy_and_admits_nothing(tmp_path: Path) -> None:
    gates.clear()
    app = await App.start(Config("127.0.0.1:0", str(tmp_path / "test.db"), {**BUILT_IN, "deaf": deaf}))
    async with Client(app.address) as client, grpc.aio.insecure_channel(app.address) as channel:
        await client.threads.create("t")
        run = await client.runs.create("t", "deaf")
        await gates["at work"].wait()
        watch: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING

        stopping = asyncio.create_task(app.stop())
        assert (await watch.read()).status == NOT_SERVING
        assert [await health(channel, name) for name in ("", *OURS)] == [NOT_SERVING] * 5
        with pytest.raises(NotReady) as refused:
            await client.threads.create("late")
        assert refused.value.retry_after is not None
        assert not stopping.done()
        watch.cancel()
        gates["let go"].set()
        assert not await stopping
    async with reopened(tmp_path / "test.db") as client:
        assert (await client.runs.get("t", run["run_id"]))["reason"] == "RELEASED"
        assert [thread["thread_id"] async for thread in client.threads.list()] == ["t"]


@asynccontextmanager
async def reopened(db: Path) -> AsyncIterator[Client]:
    """A server that has no graph of the run's: it stays as it was left."""
    app = await App.start(Config("127.0.0.1:0", str(db), BUILT_IN))
    async with Client(app.address) as client:
        yield client
    await app.stop()
