"""Those who wait for a commit: for the end of a run, of a lease, or of a stopped run's code. Nobody polls."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from statemachine.draft import Decision
from statemachine.errors import NotReady
from statemachine.model import Run
from statemachine.status import TERMINAL, RunStatus

Ended: TypeAlias = "asyncio.Future[Run]"
Idle: TypeAlias = "asyncio.Future[None]"


class Hub:
    def __init__(self) -> None:
        self._watchers: dict[str, dict[Ended, Callable[[Run], bool]]] = {}
        self._cancellers: dict[str, dict[Idle, str]] = {}
        self._closed = False

    @contextmanager
    def joining(self, run_id: str) -> Iterator[Ended]:
        """A future of the run as it is when it becomes final. Enter before reading the run: then no end is missed."""
        with self._watching(run_id, lambda run: run.status in TERMINAL) as ended:
            yield ended

    @contextmanager
    def holding(self, run_id: str, epoch: int) -> Iterator[Ended]:
        """A future of the run as it is when the lease of this epoch is over. Enter before asking whether it is."""
        with self._watching(run_id, lambda run: run.status is not RunStatus.RUNNING or run.epoch != epoch) as ended:
            yield ended

    @contextmanager
    def _watching(self, run_id: str, holds: Callable[[Run], bool]) -> Iterator[Ended]:
        self._check_open()
        future: Ended = asyncio.get_running_loop().create_future()
        waiting = self._watchers.setdefault(run_id, {})
        waiting[future] = holds
        try:
            yield future
        finally:
            future.cancel()
            del waiting[future]
            if not waiting and self._watchers.get(run_id) is waiting:
                del self._watchers[run_id]

    @contextmanager
    def stopping(self, thread_id: str, run_id: str) -> Iterator[Idle]:
        """A future that is done once the thread no longer waits for the run's code. Enter after the stop's commit."""
        self._check_open()
        future: Idle = asyncio.get_running_loop().create_future()
        waiting = self._cancellers.setdefault(thread_id, {})
        waiting[future] = run_id
        try:
            yield future
        finally:
            future.cancel()
            waiting.pop(future, None)
            if not waiting and self._cancellers.get(thread_id) is waiting:
                del self._cancellers[thread_id]

    def saw(self, thread_id: str, decision: Decision) -> None:
        """Take note of a commit."""
        for run in decision.moved:
            for future, holds in self._watchers.get(run.run_id, {}).items():
                if not future.done() and holds(run):
                    future.set_result(run)
        drain = decision.thread.drain if decision.thread else None
        for idle, run_id in self._cancellers.get(thread_id, {}).items():
            if not idle.done() and (drain is None or drain.run_id != run_id):
                idle.set_result(None)

    def close(self) -> None:
        """Send everyone home: the server stops."""
        self._closed = True
        waiting: list[asyncio.Future[Any]] = [
            *(future for watchers in self._watchers.values() for future in watchers),
            *(idle for cancellers in self._cancellers.values() for idle in cancellers),
        ]
        for future in waiting:
            if not future.done():
                future.set_exception(NotReady(what="stopping"))
                future.exception()  # seen, should nobody look at it any more

    def _check_open(self) -> None:
        if self._closed:
            raise NotReady(what="stopping")
