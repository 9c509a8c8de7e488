"""The line of a thread whose runs are executed by workers: who waits for whom, and what comes back to its place."""

import asyncio
from pathlib import Path

import pytest

from tests.support.clock import ManualClock
from tests.support.server import Service, said
from tests.support.worker import GRAPH, Held, begun, claim, claimed, say, scene, tick, waiting


async def fill(service: Service, runs: int, thread: str = "t") -> None:
    for _ in range(0, runs, 100):
        await asyncio.gather(*(say(service, "x", "enqueue", thread=thread) for _ in range(100)))


async def test_a_thousand_runs_on_one_thread_hold_up_no_other(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await service.client.threads.update("t", max_queued_runs=2000)
        await fill(service, 1000)
        first = await claimed(service)
        assert await claim(service) is None, "a second run of the thread was handed out"
        other = await service.thread()
        free = asyncio.create_task(claim(service, wait=10))
        await waiting(service)
        created = await say(service, "mine", thread=other)
        held = await free
        assert held is not None
        assert held.run.run_id == created["run_id"]
        # And where one worker does everything, the other thread has its turn after one run, not after a thousand.
        await held.succeed()
        again = await say(service, "mine again", thread=other)
        await first.succeed()
        order = [(await claimed(service)).run for _ in range(2)]
        assert order[0].run_id == again["run_id"]
        assert (order[1].thread_id, order[1].sequence) == ("t", 2)


async def test_a_delayed_run_holds_nobody_up_and_keeps_its_place_among_those_that_are_due(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, lease=3600) as service:
        await say(service, "delayed", "enqueue", delay=60)
        for text in "bc":
            await say(service, text, "enqueue")
        await say(service, "delayed more", "enqueue", delay=90)
        held = await claimed(service)
        assert held.run.sequence == 2
        clock.forward(60)
        await held.succeed()
        for sequence in (1, 3):
            held = await claimed(service)
            assert held.run.sequence == sequence
            await held.succeed()
        clock.forward(30 - 0.000001)
        await tick(service)
        assert await claim(service) is None, "a microsecond too early"
        clock.forward(0.000001)
        await tick(service)
        assert (await claimed(service)).run.sequence == 4


async def test_a_claimer_is_woken_when_a_delayed_run_is_due(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await say(service, "delayed", delay=0.15)
        assert await claim(service) is None
        held = await claimed(service)
        assert held.run.start_time.ToMicroseconds() >= held.run.due_time.ToMicroseconds()


async def test_a_run_that_was_handed_back_goes_first_and_has_used_up_no_attempt(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db", max_attempts=1) as service:
        created = await say(service, "a")
        await say(service, "b", "enqueue")
        for epoch in range(1, 6):
            held = await claimed(service)
            assert (held.run.run_id, held.run.attempt, held.lease.epoch) == (created["run_id"], 1, epoch)
            await held.commit(f"a {epoch}")
            await held.release()
            waits = await service.client.runs.get("t", created["run_id"])
            assert (waits["status"], waits["attempt"], waits["queue_position"]) == ("pending", 0, 1)
            assert waits["reason"] == "RELEASED"
        assert await service.contents("t") == ["a", *(f"a {epoch}" for epoch in range(1, 6))]


async def test_a_lost_run_goes_back_to_its_place_with_its_steps(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        held = await begun(service)
        await held.commit("a 1")
        await say(service, "b", "enqueue")
        await lose(service, clock)
        waits = await service.client.runs.get("t", held.lease.run_id)
        assert (waits["status"], waits["attempt"], waits["queue_position"]) == ("pending", 1, 1)
        assert (waits["reason"], waits["last_step"]) == ("LEASE_LOST", 2)
        assert (await service.client.threads.get("t"))["status"] == "busy"
        again = await claimed(service)
        assert (again.run.run_id, again.run.attempt, again.assignment.state.step) == (held.lease.run_id, 2, 2)
        assert again.run.reason == ""


async def lose(service: Service, clock: ManualClock) -> None:
    clock.forward(15)
    await tick(service)


async def test_a_run_whose_workers_all_die_ends_and_the_line_goes_on(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, max_attempts=3) as service:
        deadly = await say(service, "a")
        await say(service, "b", "enqueue")
        for attempt in (1, 2, 3):
            held = await claimed(service)
            assert (held.run.run_id, held.run.attempt) == (deadly["run_id"], attempt)
            await lose(service, clock)
        run = (await service.client.runs.join("t", deadly["run_id"]))["run"]
        assert (run["status"], run["reason"], run["attempt"]) == ("error", "MAX_ATTEMPTS", 3)
        assert run["error"] is not None
        assert run["error"]["type"] == "MaxAttempts"
        assert "3 times" in run["error"]["message"]
        following = await claimed(service)
        assert (following.run.sequence, following.run.attempt) == (2, 1)
        await following.succeed()
        assert await service.statuses("t") == ["error", "success"]


async def test_a_release_between_losses_is_not_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, max_attempts=2) as service:
        held = await begun(service)
        await lose(service, clock)
        for _ in range(3):
            held = await claimed(service)
            assert held.run.attempt == 2
            await held.release()
        await claimed(service)
        await lose(service, clock)
        assert await service.statuses("t") == ["error"]


@pytest.mark.parametrize("own", [True, False], ids=["of the run", "of the assistant"])
async def test_a_run_is_ended_when_its_time_is_up(tmp_path: Path, own: bool) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, run_timeout=3600 if own else 20) as service:
        held = await begun(service, timeout=20 if own else None)
        await held.commit("a 1")
        await say(service, "b", "enqueue")
        clock.forward(10)
        await held.beat()
        clock.forward(10 - 0.000001)
        await tick(service)
        await held.commit("a 2")
        clock.forward(0.000001)
        await tick(service)
        run = (await service.client.runs.join("t", held.lease.run_id))["run"]
        assert (run["status"], run["reason"], run["last_step"]) == ("timeout", "TIMEOUT", 3)
        assert (await held.beat()).stop.reason == "TIMEOUT"
        await held.release()
        assert (await claimed(service)).run.sequence == 2
        assert await service.contents("t") == ["a", "a 1", "a 2", "b"]


async def test_each_attempt_has_the_time_of_a_run(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        await begun(service, timeout=20)
        await lose(service, clock)
        held = await claimed(service)
        clock.forward(10)
        await tick(service)
        await held.commit("a 1")
        clock.forward(10)
        await tick(service)
        assert await service.statuses("t") == ["timeout"]


async def test_a_run_may_wait_longer_than_it_may_take(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        await say(service, "a", timeout=1)
        clock.forward(3600)
        await tick(service)
        held = await claimed(service)
        assert held.run.attempt == 1
        await held.succeed()
        assert await service.statuses("t") == ["success"]


async def test_a_stopped_run_is_never_retried_whatever_its_worker_does(tmp_path: Path) -> None:
    async def nothing(held: Held) -> None: ...

    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        for last_word in (nothing, Held.release, Held.beat):
            for strategy in ("interrupt", "rollback"):
                thread_id = await service.thread()
                held = await begun(service, thread=thread_id)
                await say(service, "b", strategy, thread=thread_id)
                await last_word(held)
                clock.forward(15)
                await tick(service, thread_id)
                heir = await claimed(service)
                assert (heir.run.sequence, heir.run.attempt) == (2, 1)
                await heir.succeed()
                assert await claim(service) is None
                left = ["interrupted", "success"] if strategy == "interrupt" else ["success"]
                assert await service.statuses(thread_id) == left


async def test_graphs_of_one_thread_go_to_their_own_workers_in_order(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await service.client.assistants.create("other", assistant_id="other")
        for assistant in (GRAPH, "other", GRAPH):
            await service.client.runs.create("t", assistant, input=said("x"), multitask_strategy="enqueue")
        assert await claim(service, "other") is None
        await (await claimed(service)).succeed()
        assert await claim(service) is None
        await (await claimed(service, "other")).succeed()
        assert (await claimed(service)).run.sequence == 3
