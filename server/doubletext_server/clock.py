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
_STARTED: Final = time.time_ns() - time.monotonic_ns()


def system_clock() -> int:
    """Return the time of day at the start of the process plus the time since.

    It does not jump when the clock is set.
    """
    return (_STARTED + time.monotonic_ns()) // 1000


def rfc3339(time_us: int) -> str:
    """Return a time as RFC 3339 text in UTC, with no fraction of a second, or with three or six digits as needed."""
    text = (_EPOCH + timedelta(microseconds=time_us)).replace(tzinfo=None).isoformat()
    return f"{text.removesuffix('000')}Z" if time_us % SECOND_US else f"{text}Z"
