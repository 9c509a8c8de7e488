"""Refusals on the wire, each provoked. That all places list the same ones stands in test_error_tables."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from doubletext import Client, InternalError
from doubletext.samples import BUILT_IN
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub
from doubletext_server.app import App
from doubletext_server.config import Config
from tests.support.rpcs import OURS, call, refused
from tests.support.server import Service


def nothing_for(method: MethodDescriptor) -> Message:
    return GetMessageClass(method.input_type)()


# What a client gets wrong in a request stands in test_bad_fields, test_sizes_and_depths,
# test_page_tokens and test_missing_and_taken; what a worker's lease does not allow, in test_bad_leases.


async def test_reject_on_a_busy_thread_names_the_run_in_the_way(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "first")
    await service.say(thread_id, "second", "enqueue")
    request = rpb.CreateRunRequest(
        thread_id=thread_id, assistant_id="scripted", multitask_strategy=pb.MULTITASK_STRATEGY_REJECT
    )
    error = await refused(service.runs.CreateRun(request))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "THREAD_BUSY")
    assert error.metadata == {
        "thread_id": thread_id,
        "active_run_id": first["run_id"],
        "active_run_status": "running",
        "in_flight_runs": "2",
    }
    assert error.resource == ("doubletext.v1.Run", first["run_id"])


async def test_update_state_on_a_busy_thread_is_a_failed_precondition(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "first")
    request = tpb.UpdateStateRequest(thread_id=thread_id)
    request.values.update({"a": 1})
    error = await refused(service.threads.UpdateState(request))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")
    assert error.metadata == {
        "thread_id": thread_id,
        "active_run_id": first["run_id"],
        "active_run_status": "running",
        "in_flight_runs": "1",
    }
    assert (await service.client.threads.get_state(thread_id))["step"] == 1


async def test_a_run_in_flight_is_not_deleted(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "first")
    error = await refused(service.runs.DeleteRun(rpb.DeleteRunRequest(run_id=run["run_id"])))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "RUN_IN_FLIGHT")
    assert error.metadata == {"run_id": run["run_id"], "status": "running"}
    assert await service.statuses(thread_id) == ["running"]


async def test_a_full_queue_says_whose_it_is_and_when_to_try_again(service: Service) -> None:
    thread_id = (await service.client.threads.create(max_queued_runs=1))["thread_id"]
    await service.started(thread_id, "first")
    await service.say(thread_id, "second", "enqueue")
    request = rpb.CreateRunRequest(thread_id=thread_id, assistant_id="scripted")
    error = await refused(service.runs.CreateRun(request))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert error.metadata == {"thread_id": thread_id, "queued_runs": "1", "max_queued_runs": "1"}
    assert [violation.subject for violation in error.rest["QuotaFailure"].violations] == [thread_id]
    assert error.rest["RetryInfo"].retry_delay.ToNanoseconds() > 0
    assert await service.statuses(thread_id) == ["running", "pending"]


def micros(rfc3339: str) -> int:
    time = Timestamp()
    time.FromJsonString(rfc3339)
    return time.ToMicroseconds()


Ask = Callable[[Service, str], Any]
OF_A_RUN: Final[dict[str, Ask]] = {
    "GetRun": lambda service, run_id: service.runs.GetRun(rpb.GetRunRequest(run_id=run_id)),
    "JoinRun": lambda service, run_id: service.runs.JoinRun(rpb.JoinRunRequest(run_id=run_id)),
    "DeleteRun": lambda service, run_id: service.runs.DeleteRun(rpb.DeleteRunRequest(run_id=run_id)),
}


@pytest.mark.parametrize("ask", OF_A_RUN.values(), ids=OF_A_RUN)
async def test_a_run_that_was_rolled_back_is_not_found_and_says_since_when_and_by_whom(
    service: Service, ask: Ask
) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "first")
    second = await service.say(thread_id, "second", "rollback")
    error = await refused(ask(service, first["run_id"]))
    assert (error.code, error.reason) == ("NOT_FOUND", "RUN_ROLLED_BACK")
    deleted_at = error.metadata.pop("deleted_at")
    assert first["create_time"] is not None
    assert second["create_time"] is not None
    assert micros(first["create_time"]) < micros(deleted_at) == micros(second["create_time"])
    assert error.metadata == {
        "run_id": first["run_id"],
        "thread_id": thread_id,
        "superseded_by": second["run_id"],
        "cause": "SUPERSEDED",
    }
    assert error.resource == ("doubletext.v1.Run", first["run_id"])


# A bug of ours


BREAK: Final[dict[str, Callable[[Service], Awaitable[Any]]]] = {
    "thread": lambda service: service.threads.GetThread(tpb.GetThreadRequest(thread_id="t")),
    "change": lambda service: service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t")),
    "run": lambda service: service.runs.GetRun(rpb.GetRunRequest(run_id="r")),
}


@pytest.mark.parametrize("method", BREAK)
async def test_an_exception_that_nobody_expected_is_internal_and_its_text_stays_in_the_log(
    service: Service, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret: the password is swordfish")

    part = service.app.changes if method == "change" else service.app.store
    monkeypatch.setattr(part, method, broken)
    with capture_logs() as logs:
        error = await refused(BREAK[method](service))
    assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")
    assert set(error.metadata) == {"reference"}
    assert b"swordfish" not in error.raw.SerializeToString()
    assert b"RuntimeError" not in error.raw.SerializeToString()
    (entry,) = (entry for entry in logs if entry.get("reference") == error.metadata["reference"])
    assert entry["log_level"] == "error"
    assert "swordfish" in str(entry["exc_info"])

    monkeypatch.undo()
    await service.client.threads.create("afterwards")


async def test_the_client_hands_on_the_reference_of_an_internal_error(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(service.app.store, "thread", broken)
    with capture_logs() as logs, pytest.raises(InternalError) as caught:
        await service.client.threads.get("t")
    assert caught.value.reference == logs[0]["reference"] != ""
    assert "secret" not in str(caught.value)


# Starting and stopping


@pytest.mark.parametrize("method", OURS, ids=lambda method: method.name)
async def test_a_server_that_is_closed_admits_no_call_and_says_when_to_try_again(
    service: Service, method: MethodDescriptor
) -> None:
    service.app.edge.closed = "stopping"
    error = await refused(call(service.channel, method, nothing_for(method)))
    assert (error.code, error.reason) == ("UNAVAILABLE", "NOT_READY")
    assert error.metadata == {"what": "stopping"}
    assert error.rest["RetryInfo"].retry_delay.ToNanoseconds() > 0


async def test_calls_before_recovery_is_done_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening: asyncio.Future[App] = asyncio.get_running_loop().create_future()
    recovered = asyncio.Event()
    recover = App._recover

    async def slow(app: App) -> None:
        listening.set_result(app)
        await recovered.wait()
        await recover(app)

    monkeypatch.setattr(App, "_recover", slow)
    starting = asyncio.create_task(App.start(Config("127.0.0.1:0", str(tmp_path / "test.db"), BUILT_IN)))
    address = (await listening).address
    async with grpc.aio.insecure_channel(address) as channel, Client(address) as client:
        create = ThreadServiceStub(channel).CreateThread
        error = await refused(create(tpb.CreateThreadRequest(thread_id="t")))
        assert (error.code, error.reason) == ("UNAVAILABLE", "NOT_READY")
        assert error.metadata == {"what": "starting"}
        assert "RetryInfo" in error.rest
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING

        recovered.set()
        app = await starting
        assert [thread["thread_id"] async for thread in client.threads.list()] == []
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        await create(tpb.CreateThreadRequest(thread_id="t"))
    await app.stop()
