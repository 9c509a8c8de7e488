"""A thread beside an event loop that notices when the loop is blocked, says by what, and does what cannot wait.

A graph blocks the loop that it runs on when it computes or sleeps without awaiting anything.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

BEAT_SECONDS: Final = 0.5
BLOCKED_SECONDS: Final = 1.5
"""A loop that has not beaten for so long is taken for blocked."""

log = structlog.get_logger("watchdog")


class Watchdog:
    """`while_blocked` is called on the watchdog's thread, about every half second while the loop is blocked."""

    def __init__(self, while_blocked: Callable[[], None] = lambda: None) -> None:
        self._while_blocked = while_blocked
        self._stopped = threading.Event()
        self._beaten = 0.0

    def start(self) -> None:
        """Watch the running loop, from the thread that it runs on."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._next.cancel()

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        self._next = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _watch(self) -> None:
        told = 0.0
        looked = time.monotonic()
        while not self._stopped.wait(BEAT_SECONDS):
            before, looked = looked, time.monotonic()
            beaten = self._beaten
            if looked - before > BLOCKED_SECONDS or looked - beaten <= BLOCKED_SECONDS:
                continue  # the whole process stood still, or the loop gets on
            if told != beaten:
                told = beaten
                log.warning("the event loop is blocked; await what takes long", **self._blocker())
            try:
                self._while_blocked()
            except Exception:
                log.exception("the watchdog failed, and goes on")

    def _blocker(self) -> dict[str, str]:
        """The name of the task that is under way, and the line of code."""
        try:
            task = asyncio.current_task(self._loop)
        except RuntimeError:
            task = None
        found = {} if task is None else {"task": task.get_name()}
        if (frame := sys._current_frames().get(self._watched)) is not None:
            found["at"] = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        return found
