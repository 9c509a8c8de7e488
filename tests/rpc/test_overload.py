"""Overload: everything is bounded, and past a bound there is an answer that says which, and when to try again."""

import asyncio
import threading
from pathlib import Path

import grpc
import pytest

from doubletext import Overloaded, TooLarge
from doubletext_server.grpc import edge
from doubletext_server.grpc.edge import Limits
from tests.support.server import Service, gates, serving


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
