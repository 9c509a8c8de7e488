"""A stopped attempt: how its worker is told, what it may still say, and until when its thread waits for that."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from doubletext.v1 import worker_service_pb2 as pb
from tests.support.clock import ManualClock
from tests.support.rpcs import refused
from tests.support.server import Service
from tests.support.worker import Held, begun, claim, claimed, dump, say, scene, seconds, tick, watching

EOF: Final = grpc.aio.EOF
MICROSECOND: Final = 0.000001

Stop = Callable[[Service, Held, ManualClock], Awaitable[str]]
"""Stops the run; returns the id of the run that took its place, if there is one."""


async def interrupt(service: Service, held: Held, clock: ManualClock) -> str:
    return (await say(service, "next", "interrupt"))["run_id"]


async def rollback(service: Service, held: Held, clock: ManualClock) -> str:
    return (await say(service, "next", "rollback"))["run_id"]


async def cancel(service: Service, held: Held, clock: ManualClock) -> str:
    await service.client.runs.cancel("t", held.lease.run_id)
    return ""


async def cancel_with_rollback(service: Service, held: Held, clock: ManualClock) -> str:
    await service.client.runs.cancel("t", held.lease.run_id, action="rollback")
    return ""


async def time_out(service: Service, held: Held, clock: ManualClock) -> str:
    clock.forward(10)
    await tick(service)
    return ""


REASONS: Final[dict[Stop, str]] = {
    interrupt: "SUPERSEDED",
    rollback: "SUPERSEDED",
    cancel: "CANCELLED",
    cancel_with_rollback: "CANCELLED",
    time_out: "TIMEOUT",
}
stops = pytest.mark.parametrize("stop", REASONS, ids=lambda stop: stop.__name__)


@stops
async def test_an_open_watch_is_told_at_once_and_ends_with_the_acknowledgement(tmp_path: Path, stop: Stop) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, stop_grace=7) as service:
        held = await begun(service, timeout=10)
        watch = held.watch()
        await watching(service, held)
        heir = await stop(service, held, clock)
        told = (await watch.read()).stop
        assert (told.reason, told.superseded_by, seconds(told.grace)) == (REASONS[stop], heir, 7)
        end = asyncio.ensure_future(watch.read())
        await held.beat()
        assert not end.done()
        await held.release()
        assert await end is EOF


@stops
async def test_a_watch_that_is_opened_late_is_told_what_is_left(tmp_path: Path, stop: Stop) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, stop_grace=7) as service:
        held = await begun(service, timeout=10)
        heir = await stop(service, held, clock)
        clock.forward(3)
        watch = held.watch()
        told = (await watch.read()).stop
        assert (told.reason, told.superseded_by, seconds(told.grace)) == (REASONS[stop], heir, 4)
        await held.release()
        assert await watch.read() is EOF


@stops
async def test_a_heartbeat_is_told_as_long_as_the_grace_lasts(tmp_path: Path, stop: Stop) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, stop_grace=7) as service:
        held = await begun(service, timeout=10)
        assert not (await held.beat()).HasField("stop")
        heir = await stop(service, held, clock)
        grace_until = clock.now + 7_000_000
        clock.forward(3)
        before = await service.events("t")
        answer: pb.HeartbeatResponse = await held.beat()
        assert (answer.stop.reason, answer.stop.superseded_by) == (REASONS[stop], heir)
        assert seconds(answer.stop.grace) == 4
        assert (answer.lease.run_id, answer.lease.epoch) == (held.lease.run_id, 1)
        assert answer.lease.expire_time.ToMicroseconds() == grace_until
        clock.forward(4)
        assert (await refused(held.beat())).reason == "LEASE_LOST"
        assert await service.events("t") == before


@stops
async def test_a_stopped_attempt_writes_nothing_more(tmp_path: Path, stop: Stop) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        held = await begun(service, timeout=10)
        await held.commit("in time")
        await stop(service, held, clock)
        before = dump(service)
        for call in (held.commit(), held.publish()):
            assert (await refused(call)).metadata["cause"] == REASONS[stop]
        assert dump(service) == before
        outcome = await refused(held.succeed("late"))  # its last word, and still no outcome
        assert (outcome.reason, outcome.metadata["cause"]) == ("LEASE_LOST", REASONS[stop])
        after = dump(service)
        assert after.pop("threads") != before.pop("threads"), "it was not taken as an acknowledgement"
        assert after == before


async def by_success(held: Held, clock: ManualClock) -> None:
    assert (await refused(held.succeed("done all the same"))).reason == "LEASE_LOST"


async def by_error(held: Held, clock: ManualClock) -> None:
    assert (await refused(held.fail())).reason == "LEASE_LOST"


async def by_release(held: Held, clock: ManualClock) -> None:
    await held.release()


# What nobody says: up to the last microsecond before.


async def by_the_end_of_the_grace(held: Held, clock: ManualClock) -> None:
    """5 s after the stop, the lease kept alive."""
    clock.forward(4.9)
    await held.beat()
    clock.forward(0.1 - MICROSECOND)


async def by_the_end_of_the_lease(held: Held, clock: ManualClock) -> None:
    """3 s after the claim."""
    clock.forward(2.9 - MICROSECOND)


async def by_the_end_of_the_lease_that_was_renewed(held: Held, clock: ManualClock) -> None:
    clock.forward(1.5)
    await held.beat()
    clock.forward(3 - MICROSECOND)


ACKNOWLEDGEMENTS: Final = [
    by_success,
    by_error,
    by_release,
    by_the_end_of_the_grace,
    by_the_end_of_the_lease,
    by_the_end_of_the_lease_that_was_renewed,
]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
@pytest.mark.parametrize("acknowledge", ACKNOWLEDGEMENTS, ids=lambda each: each.__name__)
async def test_the_successor_starts_with_the_acknowledgement_and_not_before(
    tmp_path: Path, strategy: Any, acknowledge: Callable[[Held, ManualClock], Awaitable[None]]
) -> None:
    clock, lease = ManualClock(), 3 if "lease" in acknowledge.__name__ else 15
    async with scene(tmp_path / "w.db", clock, lease=lease) as service:
        held = await begun(service)
        await held.commit("1")
        clock.forward(0.1)
        heir = await say(service, "b", strategy)
        await tick(service)
        assert await claim(service) is None
        await acknowledge(held, clock)
        if "end_of" in acknowledge.__name__:
            await tick(service)
            assert await claim(service) is None, "a microsecond too early"
            clock.forward(MICROSECOND)
            await tick(service)
        successor = await claim(service)
        assert successor is not None
        assert successor.run.run_id == heir["run_id"]
        kept = ["a", "1"] if strategy == "interrupt" else []
        assert await service.contents("t") == [*kept, "b"]
        for late in (held.commit(), held.succeed("late"), held.release()):
            assert (await refused(late)).reason == "LEASE_LOST"
        assert (await successor.succeed("b 1")).run.sequence == 2
        assert await service.contents("t") == [*kept, "b", "b 1"]


async def test_an_older_attempt_cannot_acknowledge_for_the_one_that_was_stopped(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        first = await begun(service)
        clock.forward(15)
        await tick(service)
        second = await claimed(service)
        await say(service, "b", "interrupt")
        for late in (first.release(), first.succeed(), first.fail(), first.beat(), first.watch()):
            error = await refused(late)
            assert (error.metadata["epoch"], error.metadata["current_epoch"]) == ("1", "2")
        assert await claim(service) is None
        await second.release()
        assert await claim(service) is not None


async def test_a_stop_without_grace_holds_nobody_up(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", stop_grace=0) as service:
        held = await begun(service)
        await say(service, "b", "interrupt")
        assert await claim(service) is not None
        assert (await refused(held.commit())).metadata["cause"] == "SUPERSEDED"


async def test_a_run_whose_record_was_deleted_can_still_be_acknowledged(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", stop_grace=3600) as service:
        held = await begun(service)
        await say(service, "b", "enqueue")
        await service.client.runs.cancel("t", held.lease.run_id)
        await service.client.runs.delete("t", held.lease.run_id)
        assert (await held.beat()).stop.reason == "CANCELLED"
        assert await claim(service) is None
        await held.release()
        assert await claim(service) is not None


async def test_a_watch_ends_with_its_lease(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:

        async def lose(held: Held) -> None:
            clock.forward(15)
            await tick(service, held.run.thread_id)

        for end in (Held.succeed, Held.fail, Held.release, lose):
            held = await begun(service, thread=await service.thread())
            watch = held.watch()
            await watching(service, held)
            await end(held)
            assert await watch.read() is EOF, end.__name__
            while (again := await claim(service)) is not None:
                await again.succeed()


async def test_a_watch_on_a_deleted_thread_is_told_and_ends(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        watch = held.watch()
        await watching(service, held)
        await service.client.threads.delete("t")
        assert (await watch.read()).stop.reason == "THREAD_DELETED"
        assert await watch.read() is EOF
