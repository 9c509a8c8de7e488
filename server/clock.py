"""The one real clock."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Microseconds since 1970 UTC."""


def system_clock() -> int:
    return time.time_ns() // 1000
