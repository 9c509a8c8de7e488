"""The event log as a stream: what is there, then what comes, each event once and in order.

A reader goes through the log page by page and sleeps at its end. One who reads slowly holds up nobody and costs a page:
the log is where it reads on from. Readers at the same place share one reading of the database.
See docs/decisions/0023.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeAlias

from doubletext.v1 import resources_pb2 as pb
from doubletext_server.engine.waiting import Hub
from doubletext_server.grpc import wire
from doubletext_server.store.protocol import Store
from doubletext_statemachine.errors import RunNotFound, ThreadNotFound
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import TERMINAL

PAGE: Final = 256
FINAL: Final = frozenset(wire.RUN_STATUS[status] for status in TERMINAL)

Place: TypeAlias = tuple[str, str | None, int, int]
"""Thread, run (None: all of them), the sequence to read on from, and how far the log had come by then. The last one
matters: a reading that began before a commit must not be taken for one that came after it."""


class Feed:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._pages: dict[Place, asyncio.Task[list[pb.Event]]] = {}

    async def of_thread(self, thread_id: str, after: int) -> AsyncGenerator[pb.Event, None]:
        """The thread's events after a sequence. Ends with ThreadNotFound, when the thread is deleted."""
        async with aclosing(self._events(thread_id, None, after)) as events:
            async for event in events:
                yield event
        raise ThreadNotFound(thread_id=thread_id)

    async def of_run(self, run: Run, after: int) -> AsyncGenerator[pb.Event, None]:
        """The run's events after a sequence, to the one that makes it final. Raises RunNotFound."""
        start, live = max(after, run.first_event - 1), run.status not in TERMINAL
        try:
            async with aclosing(self._events(run.thread_id, run.run_id, start, live=live)) as events:
                async for event in events:
                    yield event
                    if event.run_changed.to in FINAL:
                        return
        except ThreadNotFound:  # deleted since the run was read
            raise RunNotFound(run.run_id, run.thread_id) from None

    async def _events(
        self, thread_id: str, run_id: str | None, after: int, *, live: bool = True
    ) -> AsyncGenerator[pb.Event, None]:
        """Events after a sequence; with `live`, until the thread is deleted, else those that are there."""
        with self._hub.reading(thread_id) as news:
            thread = (await self._store.thread(thread_id)).thread
            news.last_event = max(news.last_event, thread.last_event)
            while news.gone is None:
                head = news.last_event
                page = await self._page((thread_id, run_id, after, head))
                if news.gone is not None:
                    break
                for event in page:
                    yield event
                after = page[-1].sequence if page else max(after, head)
                if not live and after >= thread.last_event:
                    return
                await news.after(after)
            for last in news.gone or ():
                if last.event.sequence > after and run_id in (None, last.event.run_id):
                    yield wire.event(thread_id, last)

    async def _page(self, place: Place) -> list[pb.Event]:
        if (task := self._pages.get(place)) is None:
            task = self._pages[place] = asyncio.create_task(self._read(place))
            task.add_done_callback(lambda _: self._pages.pop(place))
        return await asyncio.shield(task)

    async def _read(self, place: Place) -> list[pb.Event]:
        thread_id, run_id, after, _ = place
        records = await self._store.events(thread_id, after, PAGE, run_id)
        return [wire.event(thread_id, record) for record in records]
