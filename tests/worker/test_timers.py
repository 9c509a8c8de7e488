"""The server's own timers, and what a restart keeps of leases and stops."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
import pytest

from doubletext.v1 import resources_pb2 as resources
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.words import Reason, RunStatus
from tests.support.clock import SECOND, ManualClock, TimerClock
from tests.support.held_resources import let_go, live
from tests.support.rpcs import refused
from tests.support.server import Service, serving
from tests.support.worker import (
    Held,
    begun,
    claim,
    claimed,
    dump,
    is_watched,
    say,
    scene,
    tick,
    waiting,
    watching,
)

LEASE: Final = 6
"""Seconds: less than a claimer waits, so that it waits still when a lease is over."""


def on(service: Service, held: Held) -> Held:
    """The same lease, presented to another server."""
    return Held(service, held.assignment)


def renewed(after: int) -> Callable[[Decision], bool]:
    """A commit by which a lease ends later than that."""
    return lambda decision: any((run.lease_expires or 0) > after for run in decision.moved)


def awaited(after: int) -> Callable[[Decision], bool]:
    """A commit by which a stopped attempt is awaited for longer than until then."""

    def holds(decision: Decision) -> bool:
        stopping = decision.thread.stopping if decision.thread else None
        return stopping is not None and stopping.until > after

    return holds


def lost(decision: Decision) -> bool:
    return any(run.reason is Reason.LEASE_LOST and run.status is RunStatus.PENDING for run in decision.moved)


async def test_a_silent_workers_run_goes_to_one_who_waits_the_moment_its_lease_is_over(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, LEASE) as service:
        silent = await begun(service)
        await silent.commit("a 1")
        waits = asyncio.create_task(claimed(service, worker_id="second"))
        await waiting(service)
        clock.forward(LEASE)
        second = await waits
        assert (second.run.run_id, second.run.attempt) == (silent.lease.run_id, 2)
        assert second.run.start_time == silent.lease.expire_time
        assert (await refused(silent.commit())).metadata["cause"] == "CLAIMED_AGAIN"
        assert (await second.succeed()).run.status == resources.RUN_STATUS_SUCCESS


async def test_an_open_watch_keeps_the_lease_alive_and_a_closed_one_does_not(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, LEASE) as service:
        held, before = await begun(service), live(service)
        watch = held.watch()
        await watching(service, held)
        for _ in range(4):  # for longer than the lease that it began with
            with service.commit(renewed(clock.now + LEASE * SECOND)) as alive:
                clock.forward(LEASE / 3)
                await alive
        await held.commit("still mine")
        watch.cancel()
        await let_go(service, before)
        with service.commit(lost) as over:
            clock.forward(LEASE)
            await over
        assert (await refused(held.commit())).metadata["cause"] == "LEASE_LOST"


async def test_a_watch_renews_the_lease_once_a_third_of_it_is_over_and_not_before(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, lease=15) as service:
        held = await begun(service)
        clock.forward(4.9)
        before = dump(service)
        watch = held.watch()
        while not is_watched(service, held):
            await service.client.threads.get("t")
        await service.app.store.settled()
        assert dump(service) == before
        watch.cancel()
        clock.forward(0.1)
        with service.commit(renewed(clock.now + 14_999_999)) as alive:
            held.watch()
            await alive


async def test_an_open_watch_keeps_a_stopped_attempt_awaited_and_a_closed_one_does_not(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, LEASE, stop_grace=3600) as service:
        held, before = await begun(service), live(service)
        watch = held.watch()
        await watching(service, held)
        successor = await say(service, "b", "interrupt")
        assert (await watch.read()).stop.superseded_by == successor["run_id"]
        for _ in range(4):
            with service.commit(awaited(clock.now + LEASE * SECOND)) as longer:
                clock.forward(LEASE / 3)
                await longer
            await service.client.threads.get("t")  # until this is answered, the server waits for the next third
        assert await claim(service) is None
        watch.cancel()
        await let_go(service, before)
        waits = asyncio.create_task(claimed(service))
        await waiting(service)
        clock.forward(LEASE)
        assert (await waits).run.run_id == successor["run_id"]


async def test_a_worker_that_is_told_to_stop_and_dies_is_not_awaited_for_its_whole_grace(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, LEASE, stop_grace=3600) as service:
        await begun(service)
        successor = await say(service, "b", "interrupt")
        assert await claim(service) is None
        clock.forward(LEASE)
        assert (await claimed(service)).run.run_id == successor["run_id"]
        assert await service.statuses("t") == ["interrupted", "running"]


async def test_a_grace_ends_by_itself(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, lease=3600, stop_grace=5) as service:
        held = await begun(service)
        await say(service, "b", "rollback")
        assert await claim(service) is None
        clock.forward(5)
        await claimed(service)
        assert (await refused(held.release())).metadata["cause"] == "SUPERSEDED"


async def test_a_run_times_out_by_itself_and_its_watch_is_told(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, stop_grace=3600) as service:
        held = await begun(service, timeout=5)
        watch = held.watch()
        await watching(service, held)
        clock.forward(5)
        assert (await watch.read()).stop.reason == "TIMEOUT"
        assert await service.statuses("t") == ["timeout"]
        await held.release()
        assert await watch.read() is grpc.aio.EOF


async def test_leases_go_on_over_a_restart(tmp_path: Path) -> None:
    """The attempt that held the run holds it still: nothing is executed again."""
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        await held.commit("a 1", expected_step=2)
        await say(service, "b", "enqueue")
    async with serving(tmp_path / "w.db") as service:
        assert await claim(service) is None
        again = on(service, held)
        assert not (await again.beat()).HasField("stop")
        assert (await again.commit("a 1", expected_step=2)).step == 2
        assert (await again.commit("a 2", expected_step=3)).step == 3
        run = (await again.succeed()).run
        assert (run.status, run.attempt) == (resources.RUN_STATUS_SUCCESS, 1)
        assert (await claimed(service)).run.sequence == 2
        assert await service.contents("t") == ["a", "a 1", "a 2", "b"]


async def test_a_lease_that_ran_out_over_a_restart_is_refused_and_taken_over(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        held = await begun(service)
        await held.commit("a 1")
    clock.forward(15)
    async with serving(tmp_path / "w.db", clock=clock) as service:
        second = await claimed(service)  # by the timer that the start has set
        assert (second.run.run_id, second.run.attempt) == (held.lease.run_id, 2)
        assert (await refused(on(service, held).commit())).metadata["cause"] == "CLAIMED_AGAIN"


async def test_the_timers_of_leases_and_delays_are_set_again_at_the_start(tmp_path: Path) -> None:
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, LEASE) as service:
        held = await begun(service)
        await say(service, "later", thread=(other := await service.thread()), delay=LEASE)
    async with serving(tmp_path / "w.db", clock=clock, lease=3600) as service:
        assert await claim(service) is None
        clock.forward(LEASE)
        claims = [(await claimed(service)).run for _ in range(2)]
        assert {(run.thread_id, run.attempt) for run in claims} == {("t", 2), (other, 1)}
        assert held.lease.run_id in {run.run_id for run in claims}


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
@pytest.mark.parametrize("acknowledges", [True, False])
async def test_a_restart_between_stop_and_acknowledgement_forgets_neither(
    tmp_path: Path, strategy: str, acknowledges: bool
) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, stop_grace=7) as service:
        held = await begun(service)
        await held.commit("a 1")
        heir = await say(service, "b", strategy)
    for _ in range(2):  # a second restart changes nothing either
        async with serving(tmp_path / "w.db", clock=clock) as service:
            held = on(service, held)
            assert await claim(service) is None
            told = (await held.beat()).stop
            assert (told.reason, told.superseded_by) == ("SUPERSEDED", heir["run_id"])
            assert (await refused(held.commit())).metadata["cause"] == "SUPERSEDED"
    clock.forward(0 if acknowledges else 7)
    async with serving(tmp_path / "w.db", clock=clock) as service:
        if acknowledges:
            assert await claim(service) is None
            await on(service, held).release()
        else:
            await tick(service)
        successor = await claimed(service)
        assert (successor.run.run_id, successor.run.attempt) == (heir["run_id"], 1)
        await successor.succeed("b 1")
        kept = ["a", "a 1"] if strategy == "interrupt" else []
        assert await service.contents("t") == [*kept, "b", "b 1"]
        assert await claim(service) is None


async def test_a_server_that_stops_leaves_its_workers_runs_as_they_are(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        watch = held.watch()
        await watching(service, held)
        stopping = asyncio.create_task(service.app.stop())
        assert (await refused(watch)).reason == "NOT_READY"
        await stopping
        async with serving(tmp_path / "w.db") as second:
            run = await second.client.runs.get("t", held.lease.run_id)
            assert (run["status"], run["attempt"]) == ("running", 1)
        service.app.stop = nothing  # type: ignore[method-assign]


async def nothing() -> bool:
    """There is nothing left to stop."""
    return False
