"""What a graph shows while it works, gathered so that many outputs share one call and one commit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from doubletext.jsontext import Text

SOON: Final = 0.005
"""Seconds that an output waits for others to go with it."""
MOST_BYTES: Final = 1024 * 1024
MOST_OUTPUTS: Final = 1000
"""When so many wait, the graph waits until they have gone."""


class Shown(NamedTuple):
    """`live_only`: for those who watch now; it is kept only together with what came shortly after it."""

    channel: str
    data: Text
    live_only: bool = False


class Outputs:
    """Sends outputs in their order. `send` takes several; what it raises, the next method called raises."""

    def __init__(self, send: Callable[[Sequence[Shown]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: list[Shown] = []
        self._bytes = 0
        self._soon: asyncio.TimerHandle | None = None
        self._draining: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def add(self, shown: Shown) -> None:
        self._raise()
        self._waiting.append(shown)
        self._bytes += len(shown.data)
        if self._bytes >= MOST_BYTES or len(self._waiting) >= MOST_OUTPUTS:
            await self.flush()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._flush_now)
        await asyncio.sleep(0)  # a graph that does nothing but emit lets others have their turns

    async def flush(self) -> None:
        """Return once all that was added has been sent. Cancelling the caller does not keep it from being sent."""
        if self._waiting and self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        if self._draining is not None:
            await asyncio.shield(self._draining)
        self._raise()

    async def _drain(self) -> None:
        try:
            while self._waiting and self._failure is None:
                batch, self._waiting, self._bytes = self._waiting, [], 0
                await self._send_in_parts(batch)
        except BaseException as failure:  # noqa: BLE001 - raised where the graph adds or flushes next
            self._failure = failure
        finally:
            self._draining = None

    async def _send_in_parts(self, batch: list[Shown]) -> None:
        part: list[Shown] = []
        size = 0
        for shown in batch:
            if part and (size + len(shown.data) > MOST_BYTES or shown.live_only is not part[0].live_only):
                await self._send(part)
                part, size = [], 0
            part.append(shown)
            size += len(shown.data)
        await self._send(part)

    def _flush_now(self) -> None:
        self._soon = None
        if self._waiting and self._draining is None:
            self._draining = asyncio.create_task(self._drain())

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def drop(self) -> None:
        """Send nothing more: the lease is over."""
        self._waiting.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
