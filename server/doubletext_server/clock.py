"""The one real clock: docs/decisions/0034."""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Microseconds since 1970 UTC."""


_STARTED: Final = time.time_ns() - time.monotonic_ns()


def system_clock() -> int:
    """The time of day when the process started, and what has passed since: never jumps, whoever sets the other."""
    return (_STARTED + time.monotonic_ns()) // 1000
