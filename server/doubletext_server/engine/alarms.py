"""Alarms: what is to be done at a time of the wall clock, one alarm a key.

They share one timer of the event loop. It looks at the clock every few seconds at the latest, because the clock may be
set forward, or the machine sleep for a while: the event loop's own time follows neither.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from doubletext_server.clock import Clock

LOOK_SECONDS: Final = 5.0
CROWDED: Final = 64


class Alarms:
    """`ring` is called with the key once its time has come. Times are microseconds since 1970."""

    def __init__(self, clock: Clock, ring: Callable[[str], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._times: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []  # with alarms that were set anew since, or taken back
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0

    def set(self, key: str, time_us: int) -> None:
        """Set the key's alarm, in place of the one that it has."""
        if self._times.get(key) == time_us:
            return
        self._times[key] = time_us
        heapq.heappush(self._heap, (time_us, key))
        if len(self._heap) > 2 * len(self._times) + CROWDED:
            self._heap = [(time, each) for each, time in self._times.items()]
            heapq.heapify(self._heap)
        if self._timer is None or time_us < self._looks_at:
            self._look_later()

    def clear(self, key: str) -> None:
        """Take the key's alarm back, if it has one."""
        self._times.pop(key, None)

    def close(self) -> None:
        self._times.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            time_us, key = heapq.heappop(self._heap)
            if self._times.get(key) == time_us:
                del self._times[key]
                self._ring(key)
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        self._look_later()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._heap:
            return
        self._looks_at = self._heap[0][0]
        # A millisecond more than needed, so that the time has really come then.
        delay = min(max(self._looks_at - self._clock(), 0) / 1_000_000 + 0.001, LOOK_SECONDS)
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)
