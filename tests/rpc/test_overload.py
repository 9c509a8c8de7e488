"""Overload: everything is bounded, and past a bound there is an answer that says which, and when to try again."""

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from doubletext import Client, Overloaded, TooLarge
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext_server.engine import executor
from doubletext_server.grpc import edge
from doubletext_server.grpc.edge import Limits
from tests.support.rpcs import METHODS, call
from tests.support.server import Service, gates, serving
from tests.support.wire import Wire, framed
from tests.support.worker import claim, claimed


async def test_a_burst_of_calls_is_answered_whole(service: Service) -> None:
    """gRPC by itself cancels some of more than 1000 at once."""
    threads = await asyncio.gather(*(service.client.threads.create() for _ in range(2500)))
    assert len({thread["thread_id"] for thread in threads}) == 2500


async def test_past_the_cap_on_waiting_calls_one_is_told_when_to_try_again(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(waiting=3)) as service:
        thread_id = await service.thread()
        run = await service.started(thread_id, "a", after={"0": "go"})
        joins = {asyncio.create_task(service.client.runs.join(thread_id, run["run_id"])) for _ in range(4)}
        (refused,), joins = await asyncio.wait(joins, return_when=asyncio.FIRST_COMPLETED)
        error = refused.exception()
        assert isinstance(error, Overloaded)
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.metadata == {"calls": "3", "what": "calls that wait", "limit": "3"}
        assert error.retry_after == 1
        with pytest.raises(Overloaded):
            await anext(service.client.threads.watch(thread_id))
        assert (await service.client.runs.get(thread_id, run["run_id"]))["status"] == "running"
        gates["go"].set()
        assert {joined["run"]["status"] for joined in await asyncio.gather(*joins)} == {"success"}
        assert (await service.client.runs.join(thread_id, run["run_id"]))["run"]["status"] == "success"


async def test_past_the_cap_on_calls_nothing_is_written_and_none_is_lost(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(calls=10)) as service:
        full = threading.Event()
        held = asyncio.create_task(service.sqlite.writer.run(lambda connection: full.wait(30)))
        calls = [asyncio.create_task(service.client.threads.create(f"t{number}")) for number in range(100)]
        while sum(call.done() for call in calls) < 90:
            await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
        full.set()
        await held
        answers = await asyncio.gather(*calls, return_exceptions=True)
        made = {answer["thread_id"] for answer in answers if isinstance(answer, dict)}
        refused = [answer for answer in answers if not isinstance(answer, dict)]
        assert (len(made), len(refused)) == (10, 90)
        assert all(isinstance(answer, Overloaded) for answer in refused)
        assert {thread["thread_id"] async for thread in service.client.threads.list()} == made


async def test_an_answer_that_no_client_takes_is_refused_with_its_size(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "LARGEST_RESPONSE", 100_000)
    thread_id = await service.thread()
    await service.client.threads.update_state(thread_id, {"a": "x" * 90_000})
    with pytest.raises(TooLarge) as raised:
        await service.client.threads.update_state(thread_id, {"b": "x" * 90_000})
    assert raised.value.metadata["limit"] == "100000"
    with pytest.raises(TooLarge):
        await service.client.threads.get_state(thread_id)
    await service.client.threads.update_state(thread_id, {"a": ""})
    assert len((await service.client.threads.get_state(thread_id))["values"]["b"]) == 90_000


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


async def test_waiting_callers_keep_no_worker_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(waiting=1)) as service:
        await service.client.assistants.create("hand", assistant_id="hand")
        run = await service.client.runs.create("t", "hand", if_thread_not_exists="create")
        joining = asyncio.create_task(service.client.runs.join("t", run["run_id"]))
        await until(lambda: service.app.hub.joiners == 1)
        with pytest.raises(Overloaded):
            await service.client.runs.join("t", run["run_id"])
        held = await claimed(service, "hand")
        await held.succeed()
        assert (await joining)["run"]["status"] == "success"


async def test_claims_and_leases_have_a_room_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(leases=1)) as service:
        await service.client.assistants.create("hand", assistant_id="hand")
        waiting = asyncio.create_task(claim(service, "hand", wait=30))
        await until(lambda: service.app.dispatcher.claimers == 2)  # one of them is the server itself
        with pytest.raises(grpc.aio.AioRpcError, match="1 claims and watched leases, its limit being 1"):
            await claim(service, "hand")
        await service.client.runs.create("t", "hand", if_thread_not_exists="create")
        assert (await waiting) is not None


async def test_large_answers_that_nobody_reads_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(unread=5_000_000)) as service:
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {"a": "x" * 2_000_000})
        unread = service.app.edge._unread
        for _ in range(6):  # answers that are read free what they took
            await service.client.threads.get_state(thread_id)
        await until(lambda: unread.taken == 0)
        wire = await Wire.open(service.app.address, deaf=True)
        request = tpb.GetStateRequest(thread_id=thread_id).SerializeToString()
        for _ in range(2):
            await wire.send(wire.begin(wire.headers("/doubletext.v1.ThreadService/GetState")), framed(request))
        await until(lambda: unread.taken > 4_000_000)
        async with Client(service.app.address, retry_for=0) as client:
            with pytest.raises(Overloaded, match="bytes of answers that were not read yet"):
                await client.threads.get_state(thread_id)
        await service.client.threads.update_state(thread_id, {"b": 1})
        await wire.close()
        await until(lambda: unread.taken == 0)
        await service.client.threads.get_state(thread_id)


async def test_events_that_nobody_reads_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(unread=5_000_000)) as service:
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {"a": "x" * 2_000_000})
        unread = service.app.edge._unread
        wire = await Wire.open(service.app.address, deaf=True)
        request = tpb.WatchThreadRequest(thread_id=thread_id, after_sequence=0).SerializeToString()
        path = wire.headers("/doubletext.v1.ThreadService/WatchThread")
        streams = [wire.begin(path) for _ in range(3)]
        for stream in streams:
            await wire.send(stream, framed(request))
        await until(lambda: sum(wire.reply_of(stream).done.is_set() for stream in streams) == 1)
        assert {wire.reply_of(stream).status for stream in streams} == {
            None,
            grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
        }
        await wire.close()
        await until(lambda: unread.taken == 0)


async def test_no_refused_answer_stays_in_memory(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(unread=1_000_000)) as service:
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {"a": "x" * 2_000_000})
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            async with Client(service.app.address, retry_for=0) as client:
                for _ in range(10):
                    with suppress(Overloaded):
                        await client.threads.get_state(thread_id)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
        assert held < 6_000_000


async def test_one_client_has_more_calls_than_one_connection(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "test.db", limits=Limits(streams=256)) as service,
        Client(service.app.address) as client,
    ):
        thread_id = await service.thread()
        run = await service.started(thread_id, "a", after={"0": "go"})
        joins = [asyncio.create_task(client.runs.join(thread_id, run["run_id"])) for _ in range(600)]
        await until(lambda: service.app.hub.joiners == 600)
        gates["go"].set()
        assert {joined["run"]["status"] for joined in await asyncio.gather(*joins)} == {"success"}


async def test_one_connection_has_no_more_calls_than_it_may(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(streams=10)) as service:
        thread_id = await service.thread()
        run = await service.started(thread_id, "a", after={"0": "go"})
        async with grpc.aio.insecure_channel(service.app.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            await call(channel, METHODS["GetRun"], rpb.GetRunRequest(run_id=run["run_id"]))  # learns of the limit
            request = rpb.JoinRunRequest(run_id=run["run_id"])
            joins = [call(channel, METHODS["JoinRun"], request) for _ in range(30)]
            done, _ = await asyncio.wait([asyncio.ensure_future(each) for each in joins], timeout=0.5)
            assert not done
            assert service.app.hub.joiners == 10
            gates["go"].set()
            assert len(await asyncio.gather(*joins)) == 30


async def test_no_call_fails_of_many_on_one_connection(service: Service) -> None:
    """Nobody repeats them: a plain channel does not, and CreateThread is not safe to repeat."""
    async with grpc.aio.insecure_channel(service.app.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:

        async def caller() -> None:
            for _ in range(4):
                await call(channel, METHODS["CreateThread"], tpb.CreateThreadRequest())

        await asyncio.gather(*(caller() for _ in range(600)))


async def test_health_and_reflection_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", limits=Limits(others=3)) as service:
        stub = health_pb2_grpc.HealthStub(service.channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="calls to health and reflection"):
            await stub.Check(health_pb2.HealthCheckRequest())
        for watch in watches:
            watch.cancel()
        await until(lambda: not service.app.edge._others.taken)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_question_to_reflection_is_short(service: Service) -> None:
    talk: Any = service.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", request_serializer=lambda data: data
    )
    stream = talk()
    await stream.write(b"x" * 100_000)
    assert await stream.code() is not grpc.StatusCode.OK


async def test_runs_of_one_graph_without_end_keep_no_other_graph_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "SLOTS", 3)
    async with serving(tmp_path / "test.db") as service:
        threads = [await service.thread() for _ in range(6)]
        held = [await service.started(thread, "a", after={"0": "go"}) for thread in threads[:3]]
        waits = [await service.say(thread, "b") for thread in threads[3:]]
        other = await service.client.runs.create(await service.thread(), "echo")
        assert (await service.client.runs.join(None, other["run_id"]))["run"]["status"] == "success"
        assert {(await service.client.runs.get(None, run["run_id"]))["status"] for run in waits} == {"pending"}
        gates["go"].set()
        ends = [(await service.client.runs.join(None, run["run_id"]))["run"]["status"] for run in (*held, *waits)]
        assert ends == ["success"] * 6
