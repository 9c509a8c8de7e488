"""gRPC's own server fails under a request that it cannot read; ours listens again, and has lost nothing."""

import asyncio

from structlog.testing import capture_logs

from doubletext.v1 import resources_pb2, run_service_pb2
from tests.fuzz.wire import Wire, framed
from tests.service import Service

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
