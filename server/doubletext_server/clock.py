"""The real clock, and the units and the text of a time. See docs/decisions/0034."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Microseconds since 1970 UTC."""

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * SECOND_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SteadyClock:
    """The time of day, which never goes back.

    When the clock of the machine is set forward, or the machine has slept, this follows. When it is set back, this goes
    on from where it was.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()

    def __call__(self) -> int:
        """Return microseconds since 1970 UTC."""
        steady = self._steady()
        self._ahead = max(self._ahead, self._wall() - steady)
        return (steady + self._ahead) // 1000


system_clock: Final = SteadyClock()


def rfc3339(time_us: int) -> str:
    """Return a time as RFC 3339 text in UTC, with no fraction of a second, or with three or six digits as needed."""
    text = (_EPOCH + timedelta(microseconds=time_us)).replace(tzinfo=None).isoformat()
    return f"{text.removesuffix('000')}Z" if time_us % SECOND_US else f"{text}Z"
