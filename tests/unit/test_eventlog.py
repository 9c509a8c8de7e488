"""Readers of the event log at one place share a reading of the store, the page of it, and what a face makes of that."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from doubletext_server.engine.eventlog import EventLog, EventPage
from doubletext_server.engine.waiting import Hub
from doubletext_server.store.protocol import EventRecord, ThreadRecord
from doubletext_statemachine.model import Event, Output, Thread
from doubletext_statemachine.words import ThreadStatus


class StoreOfEvents:
    """A thread of three events; `readings` counts how often these were read."""

    def __init__(self) -> None:
        self.readings = 0

    async def thread(self, thread_id: str) -> ThreadRecord:
        return ThreadRecord(Thread(thread_id, 1, 1, last_event=3), ThreadStatus.IDLE, None, 0)

    async def events(self, thread_id: str, after: int, limit: int, run_id: str | None = None) -> list[EventRecord]:
        self.readings += 1
        await asyncio.sleep(0)
        return [EventRecord(Event(number, None, Output("c", "{}")), 1, "{}") for number in range(after + 1, 4)]


async def pages_of(readers: int, store: Any, after: tuple[int, ...]) -> list[EventPage]:
    """The first page of each of so many readers, who begin at the same time."""
    log = EventLog(store, Hub())
    async with AsyncExitStack() as stack:
        generators: list[AsyncGenerator[EventPage, None]] = [
            await stack.enter_async_context(aclosing(log.of_thread("t", after[number % len(after)])))
            for number in range(readers)
        ]
        return list(await asyncio.gather(*(anext(pages) for pages in generators)))


async def test_readers_at_one_place_share_a_page() -> None:
    store = StoreOfEvents()
    first, *others = await pages_of(1000, store, (0,))
    assert store.readings == 1
    assert all(page is first for page in others)
    assert [record.event.sequence for record in first.records] == [1, 2, 3]


async def test_readers_at_other_places_have_pages_of_their_own() -> None:
    store = StoreOfEvents()
    pages = await pages_of(10, store, (0, 1))
    assert store.readings == 2
    assert {tuple(record.event.sequence for record in page.records) for page in pages} == {(1, 2, 3), (2, 3)}


async def test_a_page_is_converted_once_for_each_face() -> None:
    calls: list[tuple[str, int]] = []

    def convert(thread_id: str, record: EventRecord) -> int:
        calls.append((thread_id, record.event.sequence))
        return record.event.sequence

    def other(thread_id: str, record: EventRecord) -> str:
        return f"{thread_id} {record.event.sequence}"

    page, *others = await pages_of(3, StoreOfEvents(), (0,))
    assert [each.converted(convert) for each in (page, *others)] == [[1, 2, 3]] * 3
    assert calls == [("t", 1), ("t", 2), ("t", 3)]
    assert page.converted(other) == ["t 1", "t 2", "t 3"]
