"""gRPC's own server fails under a request that it cannot read; ours listens again, and has lost nothing."""

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from doubletext.v1 import resources_pb2, run_service_pb2, thread_service_pb2
from doubletext_server.address import host_and_port
from tests.support.server import Service
from tests.support.wire import Wire, framed

NO_TEXT = b"/\xff\xfe"


async def opened(address: str) -> Wire:
    """A connection, as soon as the server listens."""
    while True:
        try:
            return await Wire.open(address)
        except ConnectionError:
            await asyncio.sleep(0)


async def test_a_path_that_is_no_text_closes_the_port_for_a_moment_only(service: Service) -> None:
    address, thread_id = service.app.address, await service.thread()
    run = await service.started(thread_id, "a")
    for _ in range(2):
        first, failed = service.app.server, await Wire.open(address)
        with capture_logs() as logs:
            await failed.ask(failed.headers(NO_TEXT), framed(b""))
            while service.app.server is first:
                await service.app.store.settled()
            await (await opened(address)).close()
        await failed.close()
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
    wire = await Wire.open(app.address)
    await wire.ask(wire.headers(NO_TEXT), framed(b""))
    await wire.close()
    await listens.wait()
    assert tried == [app.address] * 2
    request = thread_service_pb2.CreateThreadRequest(thread_id="t")
    made = await service.threads.CreateThread(request, wait_for_ready=True, timeout=20)
    assert made.thread.thread_id == "t"
