"""The event log as a stream of pages: first the events that exist, then each new one, each once and in order.

A reader reads the log page by page, and waits at its end. Nothing is queued for a reader, so a slow reader delays
nobody and costs one page. Readers at the same place share one read of the database, and its page. See
docs/decisions/0023.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, TypeAlias, TypeVar

from doubletext_server.engine.waiting import Hub
from doubletext_server.store.protocol import EventRecord, Store
from doubletext_statemachine.errors import RunNotFound, ThreadNotFound
from doubletext_statemachine.model import Run, RunChanged
from doubletext_statemachine.words import TERMINAL

T = TypeVar("T")

PAGE: Final = 256

Place: TypeAlias = tuple[str, str | None, int, int]
"""The thread, the run (None: all runs), the sequence after which to read, and the newest event at that moment. The last
part keeps a reader from sharing a read that began before the commit that woke the reader."""


class EventPage:
    """One or more events in order. All readers at one place share one page."""

    __slots__ = ("_converted", "records", "thread_id")

    def __init__(self, thread_id: str, records: list[EventRecord]) -> None:
        self.thread_id = thread_id
        self.records = records
        self._converted: dict[Any, list[Any]] = {}

    def converted(self, convert: Callable[[str, EventRecord], T]) -> list[T]:
        """Return the events in the form of a face. `convert` runs once per event for all readers of the page."""
        found = self._converted.get(convert)
        if found is None:
            found = self._converted[convert] = [convert(self.thread_id, record) for record in self.records]
        return found


class EventLog:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._readings: dict[Place, asyncio.Task[EventPage | None]] = {}

    async def of_thread(self, thread_id: str, after: int) -> AsyncGenerator[EventPage, None]:
        """Yield the thread's events after a sequence. Raises ThreadNotFound when the thread is deleted."""
        async with aclosing(self._pages(thread_id, None, after)) as pages:
            async for page in pages:
                yield page
        raise ThreadNotFound(thread_id=thread_id)

    async def of_run(self, run: Run, after: int) -> AsyncGenerator[EventPage, None]:
        """Yield the run's events after a sequence, up to the one that makes the run final. Raises RunNotFound."""
        start, live = max(after, run.first_event - 1), run.status not in TERMINAL
        try:
            async with aclosing(self._pages(run.thread_id, run.run_id, start, live=live)) as pages:
                async for page in pages:
                    yield page
                    if _is_final(page.records[-1]):
                        return
        except ThreadNotFound:  # deleted since the run was read
            raise RunNotFound(run.run_id, run.thread_id) from None

    async def _pages(
        self, thread_id: str, run_id: str | None, after: int, *, live: bool = True
    ) -> AsyncGenerator[EventPage, None]:
        """Yield events after a sequence: with `live` until the thread is deleted, else only those that exist."""
        with self._hub.reading(thread_id) as news:
            thread = (await self._store.thread(thread_id)).thread
            news.last_event = max(news.last_event, thread.last_event)
            while news.gone is None:
                head = news.last_event
                page = await self._page((thread_id, run_id, after, head))
                if news.gone is not None:
                    break
                if page is not None:
                    yield page
                after = max(after, head) if page is None else page.records[-1].event.sequence  # mutant: read-on
                if not live and after >= thread.last_event:
                    return
                await news.after(after)
            last = [
                record
                for record in news.gone or ()
                if record.event.sequence > after and run_id in (None, record.event.run_id)
            ]
            if last:
                yield EventPage(thread_id, last)

    async def _page(self, place: Place) -> EventPage | None:
        """Return the events at the place, or None when there are none."""
        if (reading := self._readings.get(place)) is None:
            reading = self._readings[place] = asyncio.create_task(self._read(place))
            reading.add_done_callback(lambda _: self._readings.pop(place))
        return await asyncio.shield(reading)

    async def _read(self, place: Place) -> EventPage | None:
        thread_id, run_id, after, _ = place
        records = await self._store.events(thread_id, after, PAGE, run_id)
        return EventPage(thread_id, records) if records else None


def _is_final(record: EventRecord) -> bool:
    kind = record.event.kind
    return isinstance(kind, RunChanged) and kind.after in TERMINAL
