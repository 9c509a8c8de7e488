"""The watchdog of an event loop: it works while the loop is blocked, says by what, and is quiet otherwise."""

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from doubletext import watchdog
from doubletext.watchdog import Watchdog

LONG = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "BEAT_SECONDS", 0.005)
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.1)


def blocked_by(event: threading.Event) -> None:
    assert event.wait(LONG)


async def test_a_blocked_loop_is_noticed_and_what_blocks_it_is_named_once() -> None:
    calls, worked = 0, threading.Event()

    def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            worked.set()
        raise ValueError("the watchdog goes on")

    async def blocking() -> None:
        blocked_by(worked)

    dog = Watchdog(work)
    dog.start()
    with capture_logs() as logs:
        await asyncio.create_task(blocking(), name="graph slow")
    dog.stop()
    told: list[Any] = [entry for entry in logs if "blocked" in entry["event"]]
    assert [entry["task"] for entry in told] == ["graph slow"]
    assert "threading.py" in told[0]["at"]


async def test_each_blockage_is_told() -> None:
    worked = threading.Event()
    dog = Watchdog(worked.set)
    dog.start()
    with capture_logs() as logs:
        for _ in range(2):
            worked.clear()
            blocked_by(worked)
            await asyncio.sleep(0.05)  # the loop beats meanwhile
    dog.stop()
    assert len([entry for entry in logs if "blocked" in entry["event"]]) == 2
