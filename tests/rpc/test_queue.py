"""The queue of a thread: in order, with positions, bounded, and every run in it cancelled or started, never both."""

import asyncio
from pathlib import Path

import pytest

from doubletext import QueueFull
from tests.support.server import Service, gates, serving

pytestmark = pytest.mark.executors("server", "worker")


async def queue(service: Service, thread_id: str) -> list[tuple[str, int]]:
    """What the waiting runs were told, with their positions."""
    return [
        (run["input"]["messages"][0]["content"], run["queue_position"])
        async for run in service.client.runs.list(thread_id, statuses=["pending"], oldest_first=True)
    ]


async def test_the_queue_is_listed_in_order_and_a_cancelled_run_leaves_the_rest_in_order(service: Service) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "R", after={"0": "go"})
    runs = [await service.say(thread_id, text) for text in "abcd"]
    assert [run["queue_position"] for run in runs] == [1, 2, 3, 4]
    assert await queue(service, thread_id) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    cancelled = await service.client.runs.cancel(thread_id, runs[1]["run_id"])
    assert (cancelled["status"], cancelled["reason"]) == ("interrupted", "CANCELLED")
    assert await queue(service, thread_id) == [("a", 1), ("c", 2), ("d", 3)]
    assert (await service.client.threads.get(thread_id))["queued_runs"] == 3
    gates["go"].set()
    await service.client.runs.join(thread_id, runs[3]["run_id"])
    assert [text for text in await service.contents(thread_id) if len(text) == 1] == ["R", "a", "c", "d"]


async def test_a_cancel_that_races_with_the_start_gives_one_of_the_two(service: Service) -> None:
    for turns in range(40):
        thread_id = await service.thread()
        first = await service.say(thread_id, "first")
        second = await service.say(thread_id, "second", after={"0": "never"})
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        cancelled = await service.client.runs.cancel(thread_id, second["run_id"], wait=5)
        await service.client.runs.join(thread_id, first["run_id"])
        run = await service.client.runs.get(thread_id, second["run_id"])
        assert run == cancelled
        assert run["status"] == "interrupted"
        said = (await service.contents(thread_id)).count("second")
        assert said == (1 if run["attempt"] else 0)
        assert (await service.client.threads.get(thread_id))["status"] != "busy"


async def test_a_thread_takes_as_many_pending_runs_as_the_server_says_unless_it_has_its_own_limit(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "test.db", max_queued_runs=2) as service:
        thread_id = await service.thread()
        await service.started(thread_id, "R")
        await service.say(thread_id, "a")
        await service.say(thread_id, "b")
        with pytest.raises(QueueFull) as raised:
            await service.say(thread_id, "c")
        assert raised.value.metadata == {"thread_id": thread_id, "queued_runs": "2", "max_queued_runs": "2"}
        assert raised.value.retry_after
        assert len(await queue(service, thread_id)) == 2
        await service.client.threads.update(thread_id, max_queued_runs=3)
        await service.say(thread_id, "c")
        with pytest.raises(QueueFull):
            await service.say(thread_id, "d")
        await service.client.threads.update(thread_id, max_queued_runs=0)
        with pytest.raises(QueueFull):
            await service.say(thread_id, "d")
        await service.say(thread_id, "e", "interrupt")
        assert (await service.statuses(thread_id))[:4] == ["interrupted"] * 4
