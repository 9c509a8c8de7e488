"""The server's own timers, with short leases on the real clock; and what a restart keeps of leases and stops."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from doubletext.v1 import resources_pb2 as resources
from doubletext_server.clock import system_clock
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.words import Reason, RunStatus
from tests.rpc.calls import refused
from tests.service import Service, serving
from tests.worker.hand import Clock, Held, begun, claim, claimed, dump, say, scene, tick, watching

SHORT = 0.4


def on(service: Service, held: Held) -> Held:
    """The same lease, presented to another server."""
    return Held(service, held.assignment)


def renewed(after: int) -> Callable[[Decision], bool]:
    return lambda decision: any((run.lease_expires or 0) > after for run in decision.moved)


def lost(decision: Decision) -> bool:
    return any(run.reason is Reason.LEASE_LOST and run.status is RunStatus.PENDING for run in decision.moved)


async def test_a_silent_workers_run_goes_to_one_who_waits(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=SHORT) as service:
        silent = await begun(service)
        await silent.commit("a 1")
        expires = silent.lease.expire_time.ToMicroseconds()
        second = await claimed(service, worker_id="second")
        assert (second.run.run_id, second.run.attempt) == (silent.lease.run_id, 2)
        assert expires <= second.run.start_time.ToMicroseconds() < expires + SHORT * 1_000_000
        assert (await refused(silent.commit())).metadata["cause"] == "CLAIMED_AGAIN"
        assert (await second.succeed()).run.status == resources.RUN_STATUS_SUCCESS


async def test_an_open_watch_keeps_the_lease_alive_and_a_closed_one_does_not(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=SHORT) as service:
        held = await begun(service)
        watch = held.watch()
        for _ in range(3):  # each renewal is for more than the lease before it had
            with service.commit(renewed(system_clock() + int(SHORT * 900_000))) as alive:
                await alive
        await held.commit("still mine")
        with service.commit(lost) as over:
            watch.cancel()
            await over
        assert (await refused(held.commit())).metadata["cause"] == "LEASE_LOST"


async def test_a_watch_renews_the_lease_once_a_third_of_it_is_over_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    async with scene(tmp_path / "w.db", clock, lease=15) as service:
        held = await begun(service)
        clock.forward(4.9)
        before = dump(service)
        watch = held.watch()
        while held.lease.run_id not in service.app.hub._by_run:
            await service.client.threads.get("t")
        await service.app.store.settled()
        assert dump(service) == before
        watch.cancel()
        clock.forward(0.1)
        with service.commit(renewed(clock.now + 14_999_999)) as alive:
            held.watch()
            await alive


async def test_an_open_watch_keeps_a_stopped_attempt_awaited_and_a_closed_one_does_not(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=SHORT, stop_grace=3600) as service:
        held = await begun(service)
        watch = held.watch()
        await watching(service, held)
        heir = await say(service, "b", "interrupt")
        assert (await watch.read()).stop.superseded_by == heir["run_id"]
        until = system_clock() + int(2 * SHORT * 1_000_000)

        def awaited_longer(decision: Decision) -> bool:
            drain = decision.thread.stopping if decision.thread else None
            return drain is not None and drain.until > until

        with service.commit(awaited_longer) as awaited:
            await awaited
        assert await claim(service) is None
        successor = asyncio.create_task(claimed(service))
        watch.cancel()
        assert (await successor).run.run_id == heir["run_id"]


async def test_a_worker_that_is_told_to_stop_and_dies_is_not_awaited_for_its_whole_grace(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=SHORT, stop_grace=3600) as service:
        await begun(service)
        heir = await say(service, "b", "interrupt")
        assert (await claimed(service)).run.run_id == heir["run_id"]
        assert await service.statuses("t") == ["interrupted", "running"]


async def test_a_grace_ends_by_itself(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=3600, stop_grace=0.2) as service:
        held = await begun(service)
        await say(service, "b", "rollback")
        assert await claim(service) is None
        await claimed(service)
        assert (await refused(held.release())).metadata["cause"] == "SUPERSEDED"


async def test_a_run_times_out_by_itself_and_its_watch_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", stop_grace=3600) as service:
        held = await begun(service, timeout=0.2)
        watch = held.watch()
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
    clock = Clock()
    async with scene(tmp_path / "w.db", clock) as service:
        held = await begun(service)
        await held.commit("a 1")
    clock.forward(15)
    async with serving(tmp_path / "w.db", clock=clock) as service:
        second = await claimed(service)  # by the timer that the start has set
        assert (second.run.run_id, second.run.attempt) == (held.lease.run_id, 2)
        assert (await refused(on(service, held).commit())).metadata["cause"] == "CLAIMED_AGAIN"


async def test_the_timers_of_leases_and_delays_are_set_again_at_the_start(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=SHORT) as service:
        held = await begun(service)
        await say(service, "later", thread=(other := await service.thread()), delay=SHORT)
    async with serving(tmp_path / "w.db", lease=3600) as service:
        claims = [(await claimed(service)).run for _ in range(2)]
        assert {(run.thread_id, run.attempt) for run in claims} == {("t", 2), (other, 1)}
        assert held.lease.run_id in {run.run_id for run in claims}


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
@pytest.mark.parametrize("acknowledges", [True, False])
async def test_a_restart_between_stop_and_acknowledgement_forgets_neither(
    tmp_path: Path, strategy: str, acknowledges: bool
) -> None:
    clock = Clock()
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
