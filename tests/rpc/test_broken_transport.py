"""A call that gRPC cannot read does nothing to the others; and should accepting end of itself, it begins again."""

import asyncio
import socket
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from doubletext.v1 import resources_pb2, run_service_pb2, thread_service_pb2
from doubletext_server.address import host_and_port
from doubletext_server.grpc.accepting import PRIVATE_NAMES
from tests.support.server import Service
from tests.support.wire import Wire, framed

NO_TEXT = b"/\xff\xfe"


def test_grpc_has_the_private_names_that_accepting_leans_on() -> None:
    assert [
        f"{owner.__name__}.{name}" for owner, names in PRIVATE_NAMES for name in names if not hasattr(owner, name)
    ] == []


@pytest.mark.parametrize(
    "path", [NO_TEXT, b"/\xc0\x80/x", b"", b"/", b"/doubletext.v1.RunService/Nothing", b"/" + b"x" * 4000]
)
async def test_a_path_of_no_method_is_unimplemented_and_calls_under_way_go_on(service: Service, path: bytes) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    watched = service.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run["run_id"]))
    await watched.read()
    server, wire = service.app.server, await Wire.open(service.app.address)
    with capture_logs() as logs:
        replies = [await wire.ask(wire.headers(path), framed(b"")) for _ in range(3)]
    await wire.close()
    assert [reply.status for reply in replies] == [12] * 3
    assert logs == []
    await service.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run["run_id"]))
    statuses = []
    while (response := await watched.read()) is not grpc.aio.EOF:
        statuses.append(response.event.run_changed.to)
    assert statuses[-1] == resources_pb2.RUN_STATUS_INTERRUPTED
    assert service.app.server is server


async def failed_accepting(service: Service) -> None:
    """Let the accepting of calls of no registered method fail, as a fault in gRPC would."""

    async def fail() -> Any:
        raise ValueError("a fault in gRPC")

    service.app.server._server._request_call = fail
    wire = await Wire.open(service.app.address)
    await wire.ask(wire.headers(b"/"), framed(b""))
    await wire.close()


async def test_should_accepting_end_the_server_listens_anew_though_a_call_is_held_open(service: Service) -> None:
    address, thread_id = service.app.address, await service.thread()
    run = await service.started(thread_id, "a")
    held = service.threads.WatchThread(thread_service_pb2.WatchThreadRequest(thread_id=thread_id))
    await held.read()
    first = service.app.server
    with capture_logs() as logs:
        await failed_accepting(service)
        while service.app.server is first:
            await service.app.store.settled()
    assert "gRPC's server failed; listening anew" in [entry["event"] for entry in logs]
    assert service.app.address == address
    request = run_service_pb2.GetRunRequest(run_id=run["run_id"])
    found = (await service.runs.GetRun(request, wait_for_ready=True, timeout=20)).run
    assert (found.status, found.attempt) == (resources_pb2.RUN_STATUS_RUNNING, 1)


async def test_a_port_that_others_took_meanwhile_is_had_again_once_they_leave(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, bind, tried, listens = service.app, service.app._bind, [], asyncio.Event()

    async def too_late_at_first(listen: str) -> int:
        tried.append(listen)
        if len(tried) == 1:
            with socket.create_server(host_and_port(listen)):
                return await bind(listen)
        bound = await bind(listen)
        listens.set()
        return bound

    monkeypatch.setattr(app, "_bind", too_late_at_first)
    await failed_accepting(service)
    await listens.wait()
    assert tried == [app.address] * 2
    request = thread_service_pb2.CreateThreadRequest(thread_id="t")
    made = await service.threads.CreateThread(request, wait_for_ready=True, timeout=20)
    assert made.thread.thread_id == "t"
