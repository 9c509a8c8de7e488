"""What large answers took is given back to the system: glibc alone keeps it, many times the state's size, for good."""

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

TRIM_FROM: Final = 128 * 1024 * 1024
"""Bytes of answers that were freed."""

TRIM_AFTER: Final = 1.0
"""Seconds, after which gRPC has freed its copies too. It takes milliseconds, on a thread of its own."""


class Freed:
    def __init__(self) -> None:
        self._bytes = 0
        self._trim = _malloc_trim()

    def add(self, size: int) -> None:
        """Take note that an answer of so many bytes is gone."""
        before, self._bytes = self._bytes, self._bytes + size
        if before < TRIM_FROM <= self._bytes and self._trim is not None:
            asyncio.get_running_loop().call_later(TRIM_AFTER, self._give_back, self._trim)

    def _give_back(self, trim: Callable[[int], int]) -> None:
        self._bytes = 0
        asyncio.get_running_loop().run_in_executor(None, trim, 0)


def _malloc_trim() -> Callable[[int], int] | None:
    """The C library's, where it is glibc."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
    return trim
