"""Retention deletes what the server keeps for a limited time: events with their outputs, tombstones, request ids, and
idle threads if that is asked for.

It works in the background, in small commits. Each commit says whether a thread has too many events. What is too old is
looked up once a minute, in an index that lists the oldest first. Steps and runs stay until their thread is deleted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from doubletext_server.clock import Clock
from doubletext_server.engine.changes import Changes
from doubletext_server.store.protocol import Store
from doubletext_statemachine.commands import ExpireThread
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import Refusal

DAY_US: Final = 86_400_000_000
PAGE: Final = 100
SWEEP_SECONDS: Final = 60.0

log = structlog.get_logger("retention")


@dataclass(frozen=True)
class Keep:
    """How long things are kept.

    age_us      how long events, tombstones and request ids are kept
    per_thread  how many of each a thread keeps; they are trimmed once there are a tenth more
    idle_us     how long a thread is kept on which nothing happens; None: for ever
    """

    age_us: int = 7 * DAY_US
    per_thread: int = 10_000
    idle_us: int | None = None


class Retention:
    def __init__(self, store: Store, clock: Clock, keep: Keep) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep
        self._most = keep.per_thread + keep.per_thread // 10
        self._crowded: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, changes: Changes) -> None:
        self._changes = changes
        self._task = asyncio.create_task(self._run())

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Trim the thread soon if it has too many events."""
        thread = decision.thread
        if thread is not None and thread.last_event - thread.first_event >= self._most:
            self._crowded.add(thread_id)
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_sweep = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(next_sweep):
                    await self._wake.wait()
            except TimeoutError:
                await self._trying(self.sweep)
                next_sweep = loop.time() + SWEEP_SECONDS
            self._wake.clear()
            await self._trying(self._thin_out)

    async def _trying(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Refusal as refusal:
            log.warning("retention goes on later", error=str(refusal))
        except Exception:
            log.exception("retention failed, and goes on later")

    async def _thin_out(self) -> None:
        while self._crowded:
            await self._trim(self._crowded.pop())

    async def sweep(self) -> None:
        """Trim what is too old on all threads, and delete the threads that have been idle for too long."""
        while threads := await self._store.aged(self._clock() - self._keep.age_us, PAGE):
            for thread_id in threads:
                await self._trim(thread_id)
        if self._keep.idle_us is None:
            return
        while threads := await self._store.inactive(self._clock() - self._keep.idle_us, PAGE):
            for thread_id in threads:
                await self._expire(thread_id, self._clock() - self._keep.idle_us)

    async def _trim(self, thread_id: str) -> None:
        while await self._store.trim(thread_id, self._clock() - self._keep.age_us, self._keep.per_thread):
            pass

    async def _expire(self, thread_id: str, idle_since: int) -> None:
        decision = await self._changes.change(ExpireThread(thread_id, idle_since))
        if decision.thread is None:
            log.info("an idle thread was deleted", thread_id=thread_id)
        else:
            await self._store.still_active(thread_id)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
