"""Waiting for commits: for the end of a run, of a lease or of a stopped run's code, and for a thread's next event.

Each wait is a future or an event that a commit completes. Nobody polls.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from doubletext_server.store.protocol import EventRecord
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import NotReady
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import TERMINAL, RunStatus

RunEnded: TypeAlias = "asyncio.Future[Run]"
Offers: TypeAlias = asyncio.Event
"""Set when there may be inputs on offer to the run that has started."""
CodeEnded: TypeAlias = "asyncio.Future[None]"


class News:
    """The number of a thread's newest event, for the readers of its events.

    gone  the thread's last events, once the thread is deleted
    """

    def __init__(self) -> None:
        self.last_event = 0
        self.gone: list[EventRecord] | None = None
        self.readers = 0
        self._more = asyncio.Event()
        self._closed = False

    async def after(self, sequence: int) -> None:
        """Return once there are events after `sequence`, or once the thread is deleted.

        Raises NotReady when the server stops.
        """
        while self.last_event <= sequence and self.gone is None:
            if self._closed:
                raise NotReady(what="stopping")
            await self._more.wait()

    def on_commit(self, decision: Decision) -> None:
        if decision.deletes_thread:
            ends = zip(decision.events, decision.moved, strict=True)
            self.gone = [EventRecord(event, run.end_time or 0, None) for event, run in ends]
        elif decision.events:
            self.last_event = decision.events[-1].sequence
        else:
            return
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class Hub:
    """The waits of all calls. `joiners` and `event_readers` are the numbers of such calls; any thread may read them."""

    def __init__(self) -> None:
        self.joiners = 0
        self.event_readers = 0
        self._news: dict[str, News] = {}  # by thread
        self._by_run: dict[str, dict[RunEnded, Callable[[Run], bool]]] = {}  # with the condition that ends the wait
        self._by_thread: dict[str, dict[CodeEnded, str]] = {}  # with the id of the stopped run
        self._offers: dict[str, set[Offers]] = {}  # by thread
        self._closed = False

    @contextmanager
    def joining(self, run_id: str) -> Iterator[RunEnded]:
        """Give a future of the run as it is when it becomes final. Enter before reading the run, to miss no end."""
        with self._awaiting(run_id, lambda run: run.status in TERMINAL) as ended:
            self.joiners += 1
            try:
                yield ended
            finally:
                self.joiners -= 1

    @contextmanager
    def holding(self, run_id: str, epoch: int) -> Iterator[RunEnded]:
        """Give a future of the run as it is when the lease of this epoch is over. Enter before checking the lease."""
        with self._awaiting(run_id, lambda run: run.status is not RunStatus.RUNNING or run.epoch != epoch) as ended:
            yield ended

    @contextmanager
    def _awaiting(self, run_id: str, holds: Callable[[Run], bool]) -> Iterator[RunEnded]:
        """Give a future of the run as the first commit leaves it for which `holds` is true."""
        self._check_open()
        future: RunEnded = asyncio.get_running_loop().create_future()
        waiting = self._by_run.setdefault(run_id, {})
        waiting[future] = holds
        try:
            yield future
        finally:
            future.cancel()
            del waiting[future]
            if not waiting and self._by_run.get(run_id) is waiting:
                del self._by_run[run_id]

    @contextmanager
    def stopping(self, thread_id: str, run_id: str) -> Iterator[CodeEnded]:
        """Give a future that is done once the thread no longer waits for the run's code.

        Enter after the stop's commit.
        """
        self._check_open()
        future: CodeEnded = asyncio.get_running_loop().create_future()
        waiting = self._by_thread.setdefault(thread_id, {})
        waiting[future] = run_id
        try:
            yield future
        finally:
            future.cancel()
            waiting.pop(future, None)
            if not waiting and self._by_thread.get(thread_id) is waiting:
                del self._by_thread[thread_id]

    @contextmanager
    def offering(self, thread_id: str) -> Iterator[Offers]:
        """Give an event that is set at each commit after which the thread's run has inputs on offer."""
        offers = Offers()
        watchers = self._offers.setdefault(thread_id, set())
        watchers.add(offers)
        try:
            yield offers
        finally:
            watchers.discard(offers)
            if not watchers and self._offers.get(thread_id) is watchers:
                del self._offers[thread_id]

    @contextmanager
    def reading(self, thread_id: str) -> Iterator[News]:
        """Give the thread's news. Enter before reading the number of the newest event, to miss no event."""
        self._check_open()
        news = self._news.setdefault(thread_id, News())
        news.readers += 1
        self.event_readers += 1
        try:
            yield news
        finally:
            news.readers -= 1
            self.event_readers -= 1
            if not news.readers and self._news.get(thread_id) is news:
                del self._news[thread_id]

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """End the waits that this commit fulfils."""
        if (news := self._news.get(thread_id)) is not None:
            news.on_commit(decision)
            if decision.deletes_thread:  # a later thread with this id is another thread
                del self._news[thread_id]
        for run in decision.moved:
            for ended, holds in self._by_run.get(run.run_id, {}).items():
                if not ended.done() and holds(run):
                    ended.set_result(run)
        if decision.offers:
            for offers in self._offers.get(thread_id, ()):
                offers.set()
        stopping = decision.thread.stopping if decision.thread else None
        for code_ended, run_id in self._by_thread.get(thread_id, {}).items():
            if not code_ended.done() and (stopping is None or stopping.run_id != run_id):
                code_ended.set_result(None)

    def close(self) -> None:
        """Let all waits fail with NotReady, because the server stops."""
        self._closed = True
        for news in self._news.values():
            news.close()
        waiting: list[asyncio.Future[Any]] = [
            *(future for futures in self._by_run.values() for future in futures),
            *(future for futures in self._by_thread.values() for future in futures),
        ]
        for future in waiting:
            if not future.done():
                future.set_exception(NotReady(what="stopping"))
                future.exception()  # marks the exception as retrieved, in case nobody awaits the future

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(what="stopping")
