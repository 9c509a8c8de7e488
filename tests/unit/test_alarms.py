"""Alarms ring by the wall clock, each once, and in order of their times."""

import asyncio

import pytest

from doubletext_server.clock import SteadyClock
from doubletext_server.engine import alarms
from doubletext_server.engine.alarms import Alarms
from tests.support.clock import SECOND, ManualClock, TimerClock


@pytest.fixture
def rung() -> list[str]:
    return []


async def passed(clock: TimerClock, seconds: float) -> None:
    clock.forward(seconds)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_they_ring_in_order_of_their_times_whatever_the_order_in_which_they_were_set(rung: list[str]) -> None:
    clock = TimerClock()
    made = Alarms(clock, rung.append)
    for name, seconds in (("c", 3), ("a", 1), ("d", 400), ("b", 2)):
        made.set(name, clock() + seconds * SECOND)
    await passed(clock, 0.9)
    assert rung == []
    await passed(clock, 2.2)
    assert rung == ["a", "b", "c"]
    await passed(clock, 397)
    assert rung == ["a", "b", "c", "d"]
    assert made._timer is None


async def test_one_that_is_set_anew_or_taken_back_does_not_ring_at_its_first_time(rung: list[str]) -> None:
    clock = TimerClock()
    made = Alarms(clock, rung.append)
    made.set("later", clock() + SECOND)
    made.set("never", clock() + SECOND)
    made.set("earlier", clock() + 9 * SECOND)
    made.set("later", clock() + 4 * SECOND)
    made.clear("never")
    made.set("earlier", clock() + 2 * SECOND)
    await passed(clock, 2.1)
    assert rung == ["earlier"]
    await passed(clock, 2)
    assert rung == ["earlier", "later"]
    await passed(clock, 60)
    assert rung == ["earlier", "later"]


async def test_a_clock_that_is_set_forward_is_seen_within_seconds(
    rung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop's own time does not know of it."""
    monkeypatch.setattr(alarms, "LOOK_SECONDS", 0.01)
    clock, rings = ManualClock(), asyncio.Event()
    made = Alarms(clock, lambda key: rings.set())
    made.set("a", clock() + 600 * SECOND)
    clock.forward(3600)
    async with asyncio.timeout(30):
        await rings.wait()
    assert made._timer is None


async def test_setting_one_again_and_again_keeps_little(rung: list[str]) -> None:
    clock = TimerClock()
    made = Alarms(clock, rung.append)
    for number in range(10_000):
        made.set("a", clock() + (number + 1) * SECOND)
    assert len(made._heap) < 200
    made.close()


def test_the_clock_follows_forward_jumps_and_never_goes_back() -> None:
    wall, steady = [1_000_000], [5_000]
    clock = SteadyClock(lambda: wall[0], lambda: steady[0])
    assert clock() == 1_000
    steady[0] += 7_000
    assert clock() == 1_007
    wall[0] = 9_000_000
    assert clock() == 9_000
    wall[0] = 2_000_000
    steady[0] += 3_000
    assert clock() == 9_003
