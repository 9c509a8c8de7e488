"""ClaimRun: who gets which run, how long a claimer waits, and what a claim leaves behind whose caller is gone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from doubletext import convert
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext_server.store.protocol import RunRecord
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.words import Reason, RunStatus
from tests.support.clock import ManualClock, TimerClock
from tests.support.rpcs import refused
from tests.support.server import Service, said
from tests.support.worker import GRAPH, Held, begun, claim, claimed, claimers, say, scene, stub, tick, waiting


def is_released(decision: Decision) -> bool:
    return any(run.status is RunStatus.PENDING and run.reason is Reason.RELEASED for run in decision.moved)


async def test_an_assignment_has_all_that_executing_the_run_needs(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, lease=20, config={"tone": "kind"}) as service:
        await service.client.threads.update_state("t", {"before": 1})
        created = await say(service, "hello", metadata={"m": 1})
        held = await claimed(service, worker_id="w1")
        assert (held.lease.run_id, held.lease.epoch) == (created["run_id"], 1)
        assert held.lease.expire_time.ToMicroseconds() == clock.now + 20_000_000
        assert (held.run.status, held.run.attempt) == (resources.RUN_STATUS_RUNNING, 1)
        assert held.run.start_time.ToMicroseconds() == clock.now
        run = convert.run(held.run)
        assert (run["input"], run["metadata"], run["queue_position"]) == (said("hello"), {"m": 1}, 0)
        assistant = convert.assistant(held.assignment.assistant)
        assert (assistant["assistant_id"], assistant["graph"], assistant["config"]) == (GRAPH, GRAPH, {"tone": "kind"})
        state = convert.state(held.assignment.state)
        assert (state["step"], state["run_id"]) == (2, created["run_id"])
        assert state["values"] == {"before": 1, **said("hello")}
        assert convert.run(held.run) == await service.client.runs.get("t", created["run_id"])


@pytest.mark.parametrize("wait", [None, 0])
async def test_a_claim_that_does_not_wait_answers_at_once(tmp_path: Path, wait: float | None) -> None:
    async with scene(tmp_path / "w.db") as service:
        assert await claim(service, wait=wait, deadline=5) is None
        await say(service, "a")
        held = await claim(service, wait=wait, deadline=5)
        assert held is not None
        assert held.run.attempt == 1


async def test_a_claim_that_waits_in_vain_answers_empty_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        before = asyncio.get_running_loop().time()
        assert await claim(service, wait=0.1) is None
        assert asyncio.get_running_loop().time() - before >= 0.1
        assert claimers(service) == 0, "it is waited for still"


async def test_a_waiting_claimer_is_woken_by_the_commit_and_the_first_in_line_is_served_first(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        claims = []
        for number in range(3):
            claims.append(asyncio.create_task(claim(service, wait=15, worker_id=f"w{number}")))
            await waiting(service, number + 1)
        for number in range(3):
            thread_id = await service.thread()
            created = await say(service, "a", thread=thread_id)
            held = await claims[number]
            assert held is not None
            assert held.run.run_id == created["run_id"]
            assert sum(each.done() for each in claims) == number + 1


async def test_two_claimers_do_not_get_the_same_run(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        claims = [asyncio.create_task(claim(service, wait=0.3)) for _ in range(4)]
        await waiting(service, 4)
        await say(service, "a")
        await say(service, "b", "enqueue")
        assert [held.run.sequence for held in await asyncio.gather(*claims) if held] == [1]


async def test_threads_take_turns(tmp_path: Path) -> None:
    """Each thread that is ready once, before any a second time: a long queue has no more than its turn."""
    async with scene(tmp_path / "w.db") as service:
        threads = [await service.thread() for _ in range(4)]
        for thread_id in threads:
            for text in "abc":
                await say(service, text, "enqueue", thread=thread_id)
        order = []
        for _ in range(12):
            held = await claimed(service)
            order.append((held.run.thread_id, held.run.sequence))
            await held.succeed()
        assert order == [(thread_id, sequence) for sequence in (1, 2, 3) for thread_id in threads]


async def test_graphs_take_turns_in_the_order_in_which_their_threads_became_ready(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await service.client.assistants.create("other", assistant_id="other")
        ready = []
        for graph in (GRAPH, GRAPH, "other", GRAPH, "other", "other", GRAPH):
            ready.append(await say(service, "a", assistant=graph, thread=await service.thread()))
        only = await claimed(service, "other")
        assert only.run.run_id == ready.pop(2)["run_id"]
        for each in ready:
            held = await claimed(service, "other", GRAPH, "third")
            assert held.run.run_id == each["run_id"]


async def test_a_claimer_gets_only_what_it_can_execute(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await say(service, "a")
        assert await claim(service, "other", "third") is None
        assert await claim(service) is not None


async def test_an_answer_that_came_too_late_for_its_claimer_leaves_the_attempt_unused(tmp_path: Path) -> None:
    """The caller hangs up after the claim's commit and before its answer: without waiting for the lease, the run is
    claimable again."""
    async with scene(tmp_path / "w.db", lease=3600) as service:
        reached, never, read = asyncio.Event(), asyncio.Event(), service.app.store.run_and_state

        async def stuck(run_id: str, thread_id: str, step: int | None = None) -> Any:
            reached.set()
            await never.wait()

        service.app.store.run_and_state = stuck  # type: ignore[method-assign]
        created = await say(service, "a")
        call = stub(service).ClaimRun(pb.ClaimRunRequest(worker_id="gone", graphs=[GRAPH]))
        await reached.wait()
        with service.commit(is_released) as released:
            call.cancel()
            await released
        service.app.store.run_and_state = read  # type: ignore[method-assign]
        again = await claimed(service)
        assert (again.run.run_id, again.run.attempt, again.lease.epoch) == (created["run_id"], 1, 2)
        assert again.assignment.state.step == 1, "its input was applied twice"


async def test_a_claim_whose_caller_hangs_up_during_its_commit_is_taken_back(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", lease=3600) as service:
        reached, go_on, change = asyncio.Event(), asyncio.Event(), service.app.changes.change
        hung_up = asyncio.Event()
        take_back = service.app.workers._take_back

        async def slow(request: commands.Command) -> Decision:
            if isinstance(request, commands.ClaimRun) and request.worker_id == "gone":
                reached.set()
                await go_on.wait()
            return await change(request)

        def seen(claim: "asyncio.Task[Decision]") -> None:
            take_back(claim)
            hung_up.set()

        service.app.changes.change = slow  # type: ignore[method-assign, assignment]
        service.app.workers._take_back = seen  # type: ignore[method-assign]
        await say(service, "a")
        call = stub(service).ClaimRun(pb.ClaimRunRequest(worker_id="gone", graphs=[GRAPH]))
        await reached.wait()
        call.cancel()
        await hung_up.wait()
        go_on.set()
        again = await claimed(service)
        assert (again.run.attempt, again.lease.epoch) == (1, 2)


async def test_a_claimer_who_hangs_up_at_any_moment_takes_no_run_with_it(tmp_path: Path) -> None:
    """The run comes back at once, or with the end of its lease where the answer was already on its way."""
    clock = TimerClock()
    async with scene(tmp_path / "w.db", clock, lease=1) as service:

        async def claimed_anew(run_id: str) -> Held:
            again = asyncio.create_task(claimed(service))
            while not again.done():
                record = await service.app.store.run(run_id)
                assert isinstance(record, RunRecord)
                if record.run.worker_id == "gone" and record.run.status is RunStatus.RUNNING:
                    clock.forward(1)
            return again.result()

        for turns in range(12):  # hang up at once, or 1, 2, … turns of the loop after a run came
            thread_id = await service.thread()
            call = stub(service).ClaimRun(
                pb.ClaimRunRequest(worker_id="gone", graphs=[GRAPH], wait=convert.duration(30))
            )
            await waiting(service)
            creating = asyncio.create_task(say(service, "a", thread=thread_id))
            for _ in range(turns * 5):
                await asyncio.sleep(0)
            call.cancel()
            created = await creating
            held = await claimed_anew(created["run_id"]) if call.cancelled() else Held(service, (await call).assignment)
            assert held.run.run_id == created["run_id"]
            await held.succeed()


async def test_a_run_that_was_offered_to_a_claimer_who_hangs_up_at_that_moment_is_offered_again(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        gone = asyncio.create_task(service.app.dispatcher.next(frozenset({GRAPH})))
        await waiting(service)

        def hang_up(decision: Decision) -> bool:
            """Once the dispatcher has seen the commit, and before the claimer wakes."""
            return decision.admitted is not None and gone.cancel()

        with service.commit(hang_up) as offered:
            await say(service, "a")
            await offered
        assert (await claimed(service)).run.attempt == 1
        assert gone.cancelled()


async def test_a_run_that_was_rolled_back_between_its_claim_and_the_answer_holds_up_nobody(tmp_path: Path) -> None:
    """It is not handed out, so that nobody could acknowledge the stop: its successor is not to wait for that."""
    async with scene(tmp_path / "w.db", lease=3600, stop_grace=3600) as service:
        read = service.app.store.run_and_state
        first = await say(service, "a")

        async def overtaken(run_id: str, thread_id: str, step: int | None = None) -> Any:
            service.app.store.run_and_state = read  # type: ignore[method-assign]
            await say(service, "b", "rollback")
            return await read(run_id, thread_id)

        service.app.store.run_and_state = overtaken  # type: ignore[method-assign]
        held = await claimed(service)  # by the same call
        assert (held.run.sequence, held.assignment.state.step) == (2, 1)
        assert held.run.run_id != first["run_id"]


async def test_waiting_claimers_are_sent_home_when_the_server_stops(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        call = stub(service).ClaimRun(
            pb.ClaimRunRequest(worker_id="w", graphs=[GRAPH], wait=convert.duration(30)), timeout=20
        )
        await waiting(service)
        stopping = asyncio.create_task(service.app.stop())
        error = await refused(call)
        assert (error.code, error.reason) == ("UNAVAILABLE", "NOT_READY")
        await stopping
        service.app.stop = stopped  # type: ignore[method-assign]


async def stopped() -> bool:
    return False


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ClaimRunRequest(graphs=["g"]), {"worker_id"}),
        (pb.ClaimRunRequest(worker_id="w w", graphs=["g"]), {"worker_id"}),
        (pb.ClaimRunRequest(worker_id="w"), {"graphs"}),
        (pb.ClaimRunRequest(worker_id="w", graphs=["g", "", "é"]), {"graphs[1]", "graphs[2]"}),
        (pb.ClaimRunRequest(wait=convert.duration(-1)), {"worker_id", "graphs", "wait"}),
    ],
)
async def test_a_claim_that_is_wrong_is_told_all_that_is(service: Service, request_: Any, fields: set[str]) -> None:
    error = await refused(stub(service).ClaimRun(request_))
    assert (error.code, error.reason, set(error.metadata)) == ("INVALID_ARGUMENT", "INVALID_FIELD", fields)


async def test_a_taken_over_run_goes_on_where_its_steps_end(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        first = await begun(service)
        await first.commit("1")
        clock.forward(15)
        await tick(service)
        second = await claimed(service, worker_id="other")
        assert (second.run.run_id, second.run.attempt, second.lease.epoch) == (first.run.run_id, 2, 2)
        values = convert.state(second.assignment.state)["values"]
        assert [each["content"] for each in values["messages"]] == ["a", "1"]
        assert (await second.commit("2")).step == 3
        assert (await second.succeed()).run.status == resources.RUN_STATUS_SUCCESS
