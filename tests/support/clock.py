"""The clocks of tests: they stand still until a test moves them."""

import asyncio
from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000


@dataclass
class ManualClock:
    """`now` is in microseconds, as the server's own clock."""

    now: int = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class TimerClock(ManualClock):
    """Moves the timers of the running event loop too: those that are due by then fire at once.

    The server must run in that loop. What asks another clock goes on at its own pace, such as gRPC's deadlines.
    """

    def __init__(self) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self._moved = 0.0
        real = loop.time
        loop.time = lambda: real() + self._moved  # type: ignore[method-assign]

    def forward(self, seconds: float) -> None:
        super().forward(seconds)
        self._moved += seconds
