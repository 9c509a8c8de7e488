"""The service under test: started, killed and restarted on its file, with calls left open across all that happens."""

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from doubletext import DoubletextError
from doubletext_server.store.sqlite import schema
from doubletext_statemachine.commands import Tick
from tests.model.graph import Player
from tests.model.leases import Model
from tests.support.clock import ManualClock
from tests.support.server import Service, serving

PATIENCE: Final = 10.0
"""Seconds of real time after which what should have happened is taken for not happening."""


class Stream:
    """A stream that stays open. `seen`: what came. `refusal`: with what it ended, empty for a good end."""

    def __init__(self, events: AsyncGenerator[Any, None], seen: list[Any] | None = None) -> None:
        self.seen: list[Any] = seen or []
        self.refusal: tuple[Any, ...] | None = None
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._read(events))

    async def _read(self, events: AsyncGenerator[Any, None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    self.seen.append(event)
                    self._more.set()
            self.refusal = ()
        except DoubletextError as error:
            self.refusal = refusal(error)
        finally:
            self._more.set()

    async def have(self, count: int) -> list[Any]:
        """What came, once it is so many or the stream has ended."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < count and not self._task.done():
                self._more.clear()
                await self._more.wait()
        return self.seen

    async def ended(self) -> tuple[Any, ...]:
        async with asyncio.timeout(PATIENCE):
            await self._task
        assert self.refusal is not None
        return self.refusal

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Driver:
    """One server after another, on one file after another, each as the last one left it."""

    service: Service

    def __init__(self, folder: Path, clock: ManualClock, model: Model) -> None:
        self._folder, self._clock, self._model = folder, clock, model
        self._starts = 0
        self._stack = AsyncExitStack()

    @property
    def path(self) -> Path:
        return self._folder / f"{self._starts}.db"

    async def start(self) -> None:
        if not self.path.exists():
            shutil.copyfile(empty_file(), self.path)
        self.player = Player()
        graphs = (self.player.graph(),) if "played" in self._model.own else ()
        context = serving(self.path, graphs, self._clock, lease=self._model.lease / 1_000_000)
        self.service = await self._stack.enter_async_context(context)

    async def stop(self) -> None:
        for attempt in self.player.attempts.values():
            if attempt.stubborn:
                attempt.let_go()
        await self._stack.aclose()

    async def kill(self) -> None:
        """Go on with the file as a kill -9 would leave it: all that was answered is in it, nothing was handed back."""
        old = self.path
        self._starts += 1
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{old}{suffix}", f"{self.path}{suffix}")
        await self.stop()
        await self.start()

    async def ticked(self) -> None:
        """Let the server see what the clock says, as its timers do."""
        await asyncio.gather(*(self.service.app.changes.change(Tick(name)) for name in self._model.threads))

    async def quiet(self) -> None:
        """Wait until the server's own attempts are where the model has them, and nothing else is under way."""
        running = [run for thread in self._model.threads.values() if (run := thread.running)]
        expected = {run.run_id for run in running if run.lease is None}
        tasks = self.service.app.executor._tasks
        async with asyncio.timeout(PATIENCE):
            while not (len(tasks) == len(waiting := self.player.waiting()) and expected <= waiting):
                await self.service.app.store.settled()

    async def moved(self, run_id: str) -> None:
        """Wait until the run's attempt has done what it was told."""
        attempt = self.player.attempts[run_id]
        async with asyncio.timeout(PATIENCE):
            while not (attempt.waits or attempt.task.done()):
                await self.service.app.store.settled()

    async def listening(self, joiners: int, watchers: int) -> None:
        """Wait until the server knows of so many open calls."""
        hub = self.service.app.hub
        async with asyncio.timeout(PATIENCE):
            while hub.joiners < joiners or hub.event_readers < watchers:
                await self.service.app.store.settled()


@cache
def empty_file() -> Path:
    """A database without content, to be copied: making one takes longer than a whole sequence of calls."""
    path = Path(tempfile.mkdtemp(prefix="doubletext-")) / "empty.db"
    path.touch()
    schema.prepare(str(path))
    atexit.register(shutil.rmtree, path.parent)
    return path


async def outcome(call: Awaitable[Any]) -> Any:
    """A call's answer; of a refusal its code, its reason and its metadata."""
    try:
        return await call
    except DoubletextError as error:
        return refusal(error)


def refusal(error: DoubletextError) -> tuple[str, str, dict[str, str]]:
    return error.code.name, error.reason, error.metadata
