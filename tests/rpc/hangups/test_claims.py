"""ClaimRun whose caller is gone: the run is nobody's then, or comes back when the lease ends. It is never lost."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.duration_pb2 import Duration

from doubletext.v1 import worker_service_pb2 as wpb
from doubletext_statemachine.decisions import Decision
from tests.rpc.hangups.prepared_thread import Stage, bare
from tests.rpc.hangups.prepared_thread import waiting as waiting_runs
from tests.rpc.hangups.stopped_lanes import held, waiting
from tests.rpc.hangups.test_cancelled import strides
from tests.rpc.test_races import turns
from tests.support.clock import ManualClock
from tests.support.events import reading
from tests.support.held_resources import at_rest, let_go
from tests.support.server import Service, serving
from tests.support.worker import claim, claimed, stub, tick

LEASE: Final = 3600
NEVER: Final = ()
HELD: Final = ("a running", "a step 1")
TAKEN_BACK: Final = (*HELD, "a pending")


def claiming(service: Service, stage: Stage, seconds: int = LEASE) -> Any:
    wait = Duration(seconds=seconds)
    return stub(service).ClaimRun(wpb.ClaimRunRequest(worker_id="gone", graphs=[stage.graph], wait=wait))


async def is_not_lost(service: Service, clock: ManualClock, stage: Stage) -> tuple[str, ...]:
    """Claim what the caller who is gone left, to its end. Returns what had become of it before."""
    left = stage.facts()
    assert left in (NEVER, HELD, TAKEN_BACK)
    if left == HELD:  # its answer was lost on the way
        clock.forward(LEASE)
        await tick(service, stage.thread_id)
    again = await claimed(service, stage.graph)
    claims = 1 if left == NEVER else 2
    assert (again.run.run_id, again.lease.epoch) == (stage.run_id("a"), claims)
    assert again.run.attempt == (2 if left == HELD else 1)
    with reading(service.sqlite.path) as connection:
        steps = connection.execute("SELECT run_id FROM steps WHERE thread_id = ?", (stage.thread_id,)).fetchall()
    assert steps == [(stage.run_id("a"),)]
    await again.succeed()
    return left


async def test_a_claim_whose_caller_hangs_up_at_any_turn_loses_no_run(tmp_path: Path) -> None:
    clock, seen, answered = ManualClock(), set(), False
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        before = await at_rest(service)
        for number, held_on in enumerate(strides()):
            stage = await waiting_runs(service, clock, number)
            call = claiming(service, stage)
            await turns(held_on)
            answered = not call.cancel()
            await let_go(service, before)
            seen.add(await is_not_lost(service, clock, stage))
            if answered:
                break
    assert {NEVER, TAKEN_BACK} <= seen


async def test_a_claimer_that_hangs_up_as_a_run_comes_loses_it_to_nobody(tmp_path: Path) -> None:
    clock, seen = ManualClock(), set()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        before = await at_rest(service)
        for number, held_on in enumerate(strides()):
            stage = await bare(service, clock, number)
            stage.told = 1  # that the run was admitted is no matter of the claim's
            call = claiming(service, stage)
            while service.app.dispatcher.claimers < 2:
                await service.client.assistants.get("agent")
            created = asyncio.create_task(stage.say("a"))
            await turns(held_on)
            answered = not call.cancel()
            await created
            await let_go(service, before)
            seen.add(await is_not_lost(service, clock, stage))
            if answered:
                break
    assert NEVER in seen


async def test_a_claimer_that_does_not_wait_as_a_run_comes_gets_it_or_leaves_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        for held_on in range(0, 60, 3):
            stage = await bare(service, clock, held_on)
            created = asyncio.create_task(stage.say("a"))
            await turns(held_on)
            mine = await claim(service, stage.graph)
            await created
            mine = mine or await claimed(service, stage.graph)
            assert (mine.run.run_id, mine.run.attempt, mine.lease.epoch) == (stage.run_id("a"), 1, 1)


@pytest.mark.parametrize("lane", ["writer", "scans"])
async def test_a_claim_whose_deadline_passes_after_it_was_asked_for_is_taken_back(tmp_path: Path, lane: str) -> None:
    """Before its commit, and between that and the reading of what its caller is to be given."""
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=LEASE) as service:
        before, stage = await at_rest(service), await waiting_runs(service, clock, 0)
        on = getattr(service.app.store, lane)
        hung_up, take_back = asyncio.Event(), service.app.workers._take_back

        def seen(claim: "asyncio.Task[Decision]") -> None:
            take_back(claim)
            hung_up.set()

        service.app.workers._take_back = seen  # type: ignore[method-assign]
        async with held(on):
            call = claiming(service, stage)
            while not waiting(on):
                await service.client.assistants.get("agent")
            call.cancel()
            await hung_up.wait()  # else the call may be answered before the cancellation arrives
        await let_go(service, before)
        assert stage.facts() == TAKEN_BACK
        await is_not_lost(service, clock, stage)
