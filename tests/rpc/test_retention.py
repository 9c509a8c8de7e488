"""Retention: what is old or too much goes, in the background; steps, runs and all that is in flight stay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from doubletext import EventsTrimmed, RunNotFound, RunRolledBack, ThreadNotFound
from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2, worker_service_pb2
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from doubletext_server.engine.retention import DAY_US, Keep
from doubletext_server.store.sqlite import trim
from doubletext_server.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.server import Service, serving


@asynccontextmanager
async def kept(tmp_path: Path, keep: Keep, lease: float = 15) -> AsyncIterator[tuple[Service, ManualClock]]:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, keep=keep, lease=lease) as service:
        yield service, clock


async def count(service: Service, table: str) -> int:
    return await service.sqlite.rows.run(lambda c: int(c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def test_what_is_older_than_its_age_is_trimmed_and_the_rest_stays(tmp_path: Path) -> None:
    async with kept(tmp_path, Keep(age_us=DAY_US)) as (service, clock):
        thread_id = await service.thread()
        rolled_back = await service.started(thread_id, "gone")
        old = await service.say(thread_id, "old", "rollback", request_id="first")
        await service.client.runs.join(thread_id, old["run_id"])
        clock.now += 2 * DAY_US
        new = await service.say(thread_id, "new", request_id="second")
        joined = await service.client.runs.join(thread_id, new["run_id"])
        before = await service.events(thread_id)
        assert [await count(service, table) for table in ("tombstones", "requests")] == [1, 3]

        await service.app.retention.sweep()

        with pytest.raises(EventsTrimmed) as raised:
            await anext(service.client.threads.watch(thread_id))
        oldest = raised.value.oldest_sequence
        assert await service.app.store.events(thread_id, oldest - 1, 100) == before[oldest - 1 :]
        first = before[oldest - 1]
        assert (first.event.run_id, first.time > before[oldest - 2].time + DAY_US) == (new["run_id"], True)
        assert [await count(service, table) for table in ("tombstones", "requests")] == [0, 1]
        with pytest.raises(RunNotFound) as missing:
            await service.client.runs.get(thread_id, rolled_back["run_id"])
        assert not isinstance(missing.value, RunRolledBack)
        assert await service.statuses(thread_id) == ["success", "success"]
        assert (await service.client.runs.join(thread_id, new["run_id"])) == joined
        assert await service.contents(thread_id) == ["old", "old 1", "new", "new 1"]
        assert (await service.say(thread_id, "new", request_id="second"))["run_id"] == new["run_id"]


async def test_nothing_is_trimmed_before_its_time(tmp_path: Path) -> None:
    async with kept(tmp_path, Keep(age_us=DAY_US)) as (service, clock):
        thread_id = await service.thread()
        run = await service.say(thread_id, "a", request_id="a")
        await service.client.runs.join(thread_id, run["run_id"])
        before = await service.events(thread_id)
        clock.now += DAY_US - 60_000_000
        await service.app.retention.sweep()
        assert await service.events(thread_id) == before
        assert await count(service, "requests") == 1


async def test_more_than_a_batch_is_trimmed_in_several_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "BATCH", 100)
    async with kept(tmp_path, Keep(age_us=DAY_US)) as (service, clock):
        thread_id = await service.thread()
        await asyncio.gather(*(service.client.threads.update_state(thread_id, {}) for _ in range(243)))
        clock.now += 2 * DAY_US
        batches = service.sqlite.writer.batches
        await service.app.retention.sweep()
        assert service.sqlite.writer.batches >= batches + 3
        assert await count(service, "events") == 0
        await service.client.threads.update_state(thread_id, {"n": "last"})
        (event,) = await service.app.store.events(thread_id, 243, 9)
        assert event.event.sequence == 244


async def test_a_crowded_thread_is_thinned_out_as_it_grows_and_the_file_stops_growing(tmp_path: Path) -> None:
    """One long run that talks steadily, and threads that come and go beside it."""
    async with kept(tmp_path, Keep(per_thread=1000, idle_us=DAY_US // 10), lease=10 * 86_400) as (service, clock):
        await service.client.assistants.create("remote", assistant_id="talker")
        thread_id = await service.thread()
        await service.client.runs.create(thread_id, "talker")
        workers: Any = WorkerServiceStub(service.channel)
        claimed = await workers.ClaimRun(worker_service_pb2.ClaimRunRequest(worker_id="w", graphs=["remote"]))
        outputs = [resources_pb2.Output(channel="tokens", data=to_struct({"text": "x" * 50}))] * 200
        talk = worker_service_pb2.PublishOutputRequest(lease=claimed.assignment.lease, outputs=outputs)
        pages: list[int] = []
        for _ in range(40):
            await workers.PublishOutput(talk)
            other = await service.thread()
            run = await service.say(other, "a")
            await service.client.runs.join(other, run["run_id"])
            clock.now += DAY_US // 8
            await service.app.retention.sweep()
            pages.append(await service.sqlite.rows.run(lambda c: int(c.execute("PRAGMA page_count").fetchone()[0])))
        assert pages[-1] == pages[19]
        assert await count(service, "events") <= 1100 + 200 + 10
        assert await count(service, "threads") <= 3


async def test_idle_threads_are_deleted_and_those_with_anything_to_come_are_not(tmp_path: Path) -> None:
    async with kept(tmp_path, Keep(idle_us=DAY_US)) as (service, clock):
        idle, active, waiting, running = [await service.thread() for _ in range(4)]
        run = await service.say(idle, "a")
        await service.client.runs.join(idle, run["run_id"])
        await service.say(waiting, "later", delay=30 * 86_400)
        await service.started(running, "R")
        clock.now += DAY_US // 2
        await service.client.threads.update_state(active, {})
        clock.now += DAY_US // 2 + 1
        await service.app.retention.sweep()
        with pytest.raises(ThreadNotFound):
            await service.client.threads.get(idle)
        assert [(await service.client.threads.get(each))["status"] for each in (active, waiting, running)] == [
            "idle",
            "busy",
            "busy",
        ]
        clock.now += DAY_US
        await service.app.retention.sweep()
        with pytest.raises(ThreadNotFound):
            await service.client.threads.get(active)


async def test_threads_are_kept_for_ever_unless_told_otherwise(tmp_path: Path) -> None:
    async with kept(tmp_path, Keep()) as (service, clock):
        thread_id = await service.thread()
        clock.now += 10_000 * DAY_US
        await service.app.retention.sweep()
        assert (await service.client.threads.get(thread_id))["status"] == "idle"


async def test_the_sweep_begins_by_itself_when_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(tmp_path, Keep()) as (service, _):
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {})
    trimmed = asyncio.Event()
    trim = SqliteStore.trim

    async def seen(store: SqliteStore, thread_id: str, before: int, keep: int) -> bool:
        more = await trim(store, thread_id, before, keep)
        trimmed.set()
        return more

    monkeypatch.setattr(SqliteStore, "trim", seen)
    clock = ManualClock()
    clock.now += 8 * DAY_US
    async with serving(tmp_path / "test.db", clock=clock) as service:
        await trimmed.wait()
        assert await count(service, "events") == 0
