"""The checker says yes to what a server wrote, and no to each violation that is planted there."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.clock import ManualClock
from tests.support.record import Record, read, reading, threads
from tests.support.server import Service
from tests.support.worker import begun, claim, claimed, say, scene, tick
from tests.worker.checker import judge, judge_growth
from tests.worker.plants import PLANTS, ended, lost_end, missing_tombstone, with_event, with_run


async def story(service: Service, clock: ManualClock) -> None:
    """A thread on which everything happens once; at the end a run is running, one waits, and one is delayed."""
    await service.client.threads.update_state("t", {"messages": [{"role": "user", "content": "by hand", "id": "m"}]})
    first = await begun(service, "success")
    await first.commit("success 1")
    await first.publish("token")
    await first.succeed("success 2")
    lost = await begun(service, "lost")
    await lost.commit("lost 1")
    clock.forward(15)
    await tick(service)
    again = await claimed(service)
    await again.release()
    await (await claimed(service)).fail()
    interrupted = await begun(service, "interrupted")
    await interrupted.commit("interrupted 1")
    await say(service, "queued and interrupted", "enqueue")
    await say(service, "interrupts", "interrupt")
    await interrupted.release()
    rolled_back = await claimed(service)
    await rolled_back.commit("gone")
    await say(service, "queued and gone", "enqueue")
    await say(service, "rolls back", "rollback")
    await rolled_back.release()
    await (await claimed(service)).succeed("rolls back 1")
    late = await begun(service, "late", timeout=5)
    clock.forward(5)
    await tick(service)
    await late.release()
    await say(service, "delayed", delay=60)
    await say(service, "before the delayed", "enqueue")
    passing = await claimed(service)
    clock.forward(60)
    await tick(service)
    await claimed(service)  # the same again: it was silent for a minute
    await say(service, "waits", "enqueue")
    await say(service, "delayed more", "enqueue", delay=3600)
    assert passing.run.sequence == 10


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Record]:
    """What a server wrote, as it was before the last few commits and as it is after them."""
    return asyncio.run(written(tmp_path_factory.mktemp("good") / "w.db"))


async def written(db: Path) -> tuple[Record, Record]:
    clock = ManualClock()
    async with scene(db, clock) as service:
        await story(service, clock)
        with reading(db) as connection:
            assert threads(connection) == ["t"]
            earlier = read(connection, "t")
            clock.forward(15)
            await tick(service)
            held = await claimed(service)
            await held.succeed()
            held = await claimed(service)
            later = read(connection, "t")
            assert await claim(service) is None
            assert read(connection, "nobody") is None
    assert earlier is not None
    assert later is not None
    return earlier, later


def test_a_good_record_is_found_good(good: tuple[Record, Record]) -> None:
    earlier, later = good
    runs = [run.run_id for run in later.runs]
    assert judge(earlier, [run.run_id for run in earlier.runs]) == []
    assert judge(later, [*runs, *(grave.run_id for grave in later.graves)]) == []
    assert judge_growth(earlier, later) == []
    assert judge_growth(later, later) == []
    told = {event.change[1] for event in later.events if event.change}
    assert told == {"pending", "running", "success", "error", "interrupted", "deleted", "timeout"}


@pytest.mark.parametrize(("invariant", "plant", "word"), PLANTS, ids=[f"{n} {p.__name__}" for n, p, _ in PLANTS])
def test_a_planted_violation_is_found(
    good: tuple[Record, Record], invariant: str, plant: Callable[[Record], Record], word: str
) -> None:
    found = [wrong for wrong in judge(plant(good[1])) if wrong.startswith(f"{invariant}:")]
    assert [wrong for wrong in found if word in wrong], found


def test_a_run_that_was_accepted_and_is_gone_is_missed(good: tuple[Record, Record]) -> None:
    (wrong,) = judge(good[1], ["ghost"])
    assert wrong.startswith("2: run ghost")


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (lambda record: with_event(record, 2, time=0), "others"),
        (lost_end, ""),
        (lambda record: with_run(record, ended(record, "success").run_id, status="error"), "was success"),
        (lambda record: with_run(record, ended(record, "error").run_id, end_time=0), "was error"),
        (lambda record: replace(record, runs=record.runs[1:]), "is None"),
        (missing_tombstone, "tombstone"),
    ],
)
def test_what_has_changed_since_it_was_told_is_found(
    good: tuple[Record, Record], plant: Callable[[Record], Record], word: str
) -> None:
    earlier, later = good
    planted = plant(later if plant is not lost_end else replace(later, events=earlier.events))
    assert [wrong for wrong in judge_growth(earlier, planted) if word in wrong]
