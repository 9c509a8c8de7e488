"""Streams whose reader goes away: while they wait, while they are full, or with the channel under them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from tests.rpc.hangups.prepared_thread import Stage, busy
from tests.support.clock import ManualClock
from tests.support.held_resources import at_rest, let_go, live
from tests.support.rpcs import METHODS, call
from tests.support.server import Service, serving
from tests.support.worker import claimed, stub, tick

LEASE: Final = 3600
WAITING: Final[dict[str, Callable[[Stage], Any]]] = {
    "JoinRun": lambda at: rpb.JoinRunRequest(run_id=at.run_id("a")),
    "WatchThread": lambda at: tpb.WatchThreadRequest(thread_id=at.thread_id),
    "WatchRun": lambda at: rpb.WatchRunRequest(run_id=at.run_id("a")),
    "ClaimRun": lambda at: wpb.ClaimRunRequest(worker_id="w", graphs=["none"], wait=Duration(seconds=LEASE)),
    "WatchLease": lambda at: wpb.WatchLeaseRequest(lease=at.lease),
}


async def all_wait(service: Service, count: int) -> None:
    """Wait until so many calls have come to where they wait, each for something of its own, beside the executor."""
    hub, dispatcher = service.app.hub, service.app.dispatcher

    def there() -> int:
        ends = sum(len(each) for each in hub._by_run.values())  # joiners' and leases'
        return ends + hub.event_readers + dispatcher.claimers - 1 + len(hub._by_thread)

    while there() < count:
        await service.client.assistants.get("agent")


async def test_a_channel_that_is_closed_takes_all_its_calls_with_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        stage = await busy(service, clock, 0)
        before = await at_rest(service)
        channel = grpc.aio.insecure_channel(service.app.address)
        calls = [call(channel, METHODS[name], request(stage)) for name, request in WAITING.items()]
        for stream in calls[1:3]:
            assert await stream.read()
        await all_wait(service, 5)
        assert live(service)["calls in the room for waiting"] == len(WAITING)
        await channel.close()
        await let_go(service, before)
        assert all(each.done() for each in calls)
        assert stage.facts() == ()


async def test_a_lease_whose_watcher_is_gone_runs_out(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        stage = await busy(service, clock, 0)
        before = await at_rest(service)
        async with grpc.aio.insecure_channel(service.app.address) as channel:
            watch = call(channel, METHODS["WatchLease"], wpb.WatchLeaseRequest(lease=stage.lease))
            await all_wait(service, 1)
            assert not watch.done()
        await let_go(service, before)
        clock.forward(LEASE)
        await tick(service, stage.thread_id)
        assert stage.facts() == ("a pending",)
        again = await claimed(service, stage.graph)
        assert (again.run.run_id, again.run.attempt, again.lease.epoch) == (stage.run_id("a"), 2, 2)


# A window of this size is full after the first message, whatever the transport learns of the line.
NARROW: Final = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))


@pytest.mark.parametrize("method", ["WatchThread", "WatchRun"])
async def test_a_reader_that_goes_away_while_it_is_sent_to_is_let_go(tmp_path: Path, method: str) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        stage = await busy(service, clock, 0)
        bulk = [pb.Output(channel="bulk", data=to_struct({"text": "x" * 500_000})) for _ in range(7)]
        await stub(service).PublishOutput(wpb.PublishOutputRequest(lease=stage.lease, outputs=bulk))
        before = await at_rest(service)
        async with grpc.aio.insecure_channel(service.app.address, options=NARROW) as channel:
            stream = call(channel, METHODS[method], WAITING[method](stage))
            assert await stream.read()
            for _ in range(10):
                assert live(service)["watchers"] == 1
                await service.client.assistants.get("agent")
            stream.cancel()
            await let_go(service, before)
