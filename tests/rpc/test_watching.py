"""Watching: the committed events, each once and in order, however often the line breaks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from doubletext import Context, EventsTrimmed, RunRolledBack, ThreadNotFound, graph
from doubletext.types import Event
from doubletext.v1 import resources_pb2, run_service_pb2, thread_service_pb2
from doubletext_server.engine.waiting import News
from doubletext_server.grpc.wire.objects import as_struct_or_text
from doubletext_server.grpc.wire.writing import event as on_the_wire
from tests.support.server import Service, gates, serving

pytestmark = pytest.mark.executors("server", "worker")


@graph
async def chatty(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """`tokens` outputs, a step after every tenth."""
    for number in range(ctx.input["tokens"]):
        await ctx.emit("tokens", {"n": number})
        if number % 10 == 9:
            yield {"said": number}


def in_words(event: Event) -> str:
    if "run_changed" in event:
        return event["run_changed"]["to"]
    return f"step {event['step_committed']['step']}" if "step_committed" in event else event["output"]["channel"]


async def log_of(service: Service, thread_id: str) -> list[resources_pb2.Event]:
    return [on_the_wire(thread_id, record, as_struct_or_text) for record in await service.events(thread_id)]


async def first(events: AsyncIterator[Event], count: int) -> list[Event]:
    found: list[Event] = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    return found


async def test_a_run_is_watched_to_its_end_and_no_further(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a", after={"1": "go"}, steps_made=1)
    waiting = asyncio.create_task(first(service.client.runs.watch(thread_id, run["run_id"]), 99))
    other = await service.say(thread_id, "b")
    gates["go"].set()
    found = await waiting
    assert [in_words(event) for event in found] == ["pending", "running", "step 1", "step 2", "step 3", "success"]
    assert {event["run_id"] for event in found} == {run["run_id"]}
    await service.client.runs.join(None, other["run_id"])
    again = await first(service.client.runs.watch(None, other["run_id"]), 99)
    assert [in_words(event) for event in again] == ["pending", "running", "step 4", "step 5", "success"]


async def test_a_final_run_whose_end_was_seen_has_nothing_more(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.say(thread_id, "a")
    events = await first(service.client.runs.watch(thread_id, run["run_id"]), 99)
    assert (
        await first(service.client.runs.watch(thread_id, run["run_id"], after_sequence=events[-1]["sequence"]), 9) == []
    )


async def test_a_thread_is_watched_from_any_event_on_and_then_live(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.say(thread_id, "a", steps=2)
    await service.client.runs.join(thread_id, run["run_id"])
    log = await log_of(service, thread_id)
    for after in range(len(log) + 1):
        watching = asyncio.create_task(
            first(service.client.threads.watch(thread_id, after_sequence=after), len(log) - after + 1)
        )
        await asyncio.sleep(0)
        await service.client.threads.update_state(thread_id, {"after": after})
        found = await watching
        assert [event["sequence"] for event in found] == list(range(after + 1, len(log) + 2))
        assert found[-1].get("step_committed", {}).get("update") == {"after": after}
        log = await log_of(service, thread_id)


async def test_a_watcher_cut_off_after_every_single_event_gets_the_log_exactly_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", (chatty,)) as service:
        thread_id = await service.thread()
        run = await service.client.runs.create(thread_id, "chatty", input={"tokens": 200})
        found: list[resources_pb2.Event] = []
        final = resources_pb2.RUN_STATUS_SUCCESS
        while not found or found[-1].run_changed.to != final:
            after = found[-1].sequence if found else 0
            call = service.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run["run_id"], after_sequence=after))
            found.append((await call.read()).event)
            call.cancel()
        assert found == await log_of(service, thread_id)


async def test_many_watchers_see_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", (chatty,)) as service:
        thread_id = await service.thread()
        run = await service.client.runs.create(thread_id, "chatty", input={"tokens": 100}, delay=0.05)
        watchers = [first(service.client.runs.watch(thread_id, run["run_id"]), 10**6) for _ in range(50)]
        seen = await asyncio.gather(*watchers)
        assert [event["sequence"] for event in seen[0]] == list(range(1, len(await service.events(thread_id)) + 1))
        assert all(each == seen[0] for each in seen)


async def test_a_watcher_that_does_not_read_holds_up_nobody_and_catches_up(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", (chatty,)) as service:
        thread_id = await service.thread()
        idle = service.threads.WatchThread(thread_service_pb2.WatchThreadRequest(thread_id=thread_id))
        run = await service.client.runs.create(thread_id, "chatty", input={"tokens": 1000})
        quick = await first(service.client.runs.watch(thread_id, run["run_id"]), 10**6)
        log = await log_of(service, thread_id)
        assert len(quick) == len(log)
        assert [(await idle.read()).event for _ in log] == log


async def test_a_superseded_runs_watcher_gets_its_end_with_the_cause(service: Service) -> None:
    for strategy, status in (("interrupt", "interrupted"), ("rollback", "deleted")):
        thread_id = await service.thread()
        run = await service.started(thread_id, "a")
        watching = service.client.runs.watch(thread_id, run["run_id"])
        await anext(watching)
        second = await service.say(thread_id, "b", strategy)
        end = (await first(watching, 99))[-1]
        assert end.get("run_changed") == {
            "from": "running",
            "to": status,
            "superseded_by": second["run_id"],
            "merged_into": "",
            "reason": "SUPERSEDED",
        }
    with pytest.raises(RunRolledBack):
        await first(service.client.runs.watch(thread_id, run["run_id"]), 1)


async def test_a_deleted_threads_watchers_learn_what_happened(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    async with aclosing(service.client.threads.watch(thread_id)) as watching:
        assert in_words(await anext(watching)) == "pending"
        of_run = service.client.runs.watch(thread_id, run["run_id"])
        await anext(of_run)
        await anext(watching)
        await service.client.threads.delete(thread_id)
        await anext(watching)
        end = await anext(watching)
        assert end.get("run_changed", {}).get("reason") == "THREAD_DELETED"
        assert end["time"] is not None
        with pytest.raises(ThreadNotFound):
            await anext(watching)
    assert in_words((await first(of_run, 99))[-1]) == "deleted"


async def test_a_thread_deleted_and_made_anew_is_another_one(service: Service) -> None:
    await service.client.threads.create("again")
    await service.client.threads.update_state("again", {"first": True})
    events = service.client.threads.watch("again")
    assert in_words(await anext(events)) == "step 1"
    await service.client.threads.delete("again")
    await service.client.threads.create("again")
    await service.client.threads.update_state("again", {"second": True})
    await service.client.threads.update_state("again", {"second": True})
    with pytest.raises(ThreadNotFound):
        await anext(events)


async def test_watchers_are_sent_home_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db") as service:
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {})
        call = service.threads.WatchThread(thread_service_pb2.WatchThreadRequest(thread_id=thread_id))
        await call.read()
        reading = asyncio.create_task(call.read())
        service.app.hub.close()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await reading
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_events_that_are_no_longer_kept_are_refused_with_the_oldest_that_are(service: Service) -> None:
    thread_id = await service.thread()
    for number in range(5):
        await service.client.threads.update_state(thread_id, {"n": number})

    def trim(connection: Any) -> None:
        connection.execute("DELETE FROM events WHERE thread_id = ? AND sequence < 3", (thread_id,))
        connection.execute("UPDATE threads SET first_event = 3 WHERE thread_id = ?", (thread_id,))

    await service.sqlite.writer.run(trim)
    for after in (0, 1):
        with pytest.raises(EventsTrimmed) as raised:
            await first(service.client.threads.watch(thread_id, after_sequence=after), 1)
        assert raised.value.code is grpc.StatusCode.OUT_OF_RANGE
        assert raised.value.oldest_sequence == 3
    found = await first(service.client.threads.watch(thread_id, after_sequence=2), 3)
    assert [event["sequence"] for event in found] == [3, 4, 5]


async def test_who_stops_watching_leaves_nothing_behind_on_the_server(service: Service) -> None:
    thread_id = await service.thread()
    await service.client.threads.update_state(thread_id, {})
    gone = asyncio.Event()
    forget = service.app.hub.reading

    @contextmanager
    def seen(thread_id: str) -> Iterator[News]:
        try:
            with forget(thread_id) as news:
                yield news
        finally:
            gone.set()

    service.app.hub.reading = seen  # type: ignore[method-assign]
    async with aclosing(service.client.threads.watch(thread_id)) as events:
        await anext(events)
    await gone.wait()
