"""Worker processes that are stopped, killed and woken: who goes on, and that nothing happens twice."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from doubletext import Client, RunRolledBack
from tests.support.clock import SECOND, TimerClock
from tests.support.server import serving
from tests.support.sound_files import files_are_sound
from tests.support.store import everything
from tests.support.worker_process import Cluster, cluster
from tests.worker.takeover import assistant, changes, contents, say, starts

__all__ = ["files_are_sound"]

STOP, WAKE, KILL, TERM = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL, signal.SIGTERM
CALLS: Final = ("commit", "publish", "beat", "watch", "fail", "finish", "release")
LEASE: Final = 60
"""Longer than a claim waits: with a lease the claims of a worker that is stopped are over too."""


@asynccontextmanager
async def workers(db: Path, clock: TimerClock) -> AsyncIterator[tuple[Cluster, Client]]:
    """Worker processes of a server in the test's process, whose clock the test moves."""
    async with serving(db, (), clock, lease=LEASE) as service, cluster(service.app.address) as place:
        yield place, service.client


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "takeover.db"


async def test_every_call_of_a_worker_that_was_stopped_past_its_lease_is_refused(db: Path) -> None:
    clock = TimerClock()
    async with workers(db, clock) as (place, client):
        await assistant(client)
        run = await say(client, place, "a")
        first, second = await asyncio.gather(place.commanded_worker(), place.commanded_worker())
        assert await first.answer_to("claim") == {"run_id": run["run_id"], "attempt": 1, "step": 1}
        assert await first.answer_to("a 1") == {"reason": "ok"}
        first.send(STOP)
        clock.forward(LEASE)
        assert await second.answer_to("claim") == {"run_id": run["run_id"], "attempt": 2, "step": 2}
        first.send(WAKE)
        before = everything(db)
        lost = {"code": "FAILED_PRECONDITION", "reason": "LEASE_LOST", "run_id": run["run_id"], "epoch": "1"}
        for call in CALLS:
            assert await first.answer_to(call) == {**lost, "current_epoch": "2", "cause": "CLAIMED_AGAIN"}, call
        assert everything(db) == before
        assert await second.answer_to("a 2") == {"reason": "ok"}
        assert await second.answer_to("finish") == {"reason": "ok"}
        for call in CALLS:
            assert await first.answer_to(call) == {**lost, "current_epoch": "2", "cause": "SUCCESS"}, call
        assert changes(db, run["run_id"]) == ["pending", "running", "pending", "running", "success"]
        assert await contents(client) == ["a", "a 1", "a 2"]


async def test_a_python_worker_that_was_stopped_past_its_lease_goes_on_with_other_runs(db: Path) -> None:
    clock = TimerClock()
    async with workers(db, clock) as (place, client):
        await assistant(client)
        first = await place.worker()
        run = await say(client, place, "a", stops=["1.2"])
        await place.gate.reached("a 1.2")
        first.send(STOP)
        clock.forward(LEASE)
        second = await place.worker()
        ended = (await client.runs.join("t", run["run_id"]))["run"]
        assert (ended["status"], ended["attempt"]) == ("success", 2)
        first.send(WAKE)
        place.gate.open("a 1.2")
        await first.says("no longer ours")
        second.send(TERM)
        assert await second.gone() == 0
        after = await say(client, place, "b")
        assert (await client.runs.join("t", after["run_id"]))["run"]["status"] == "success"
        assert changes(db, run["run_id"]) == ["pending", "running", "pending", "running", "success"]
        assert await contents(client) == ["a", "a 1", "a 2", "a 3", "b", "b 1", "b 2", "b 3"]


async def test_a_killed_workers_run_is_taken_over_when_its_lease_ends_and_the_queue_keeps_its_order(db: Path) -> None:
    clock = TimerClock()
    async with workers(db, clock) as (place, client):
        await assistant(client)
        first = await place.worker()
        runs = [await say(client, place, text, stops=["1.2"] if text == "a" else []) for text in "abc"]
        await place.gate.reached("a 1.2")
        second = await place.worker()
        await second.says("claiming")
        killed = clock.now
        await first.kill()
        clock.forward(LEASE)
        ends = [(await client.runs.join("t", run["run_id"]))["run"] for run in runs]
        assert [(end["status"], end["attempt"]) for end in ends] == [("success", 2), ("success", 1), ("success", 1)]
        assert await contents(client) == [
            line for text in "abc" for line in (text, *(f"{text} {n}" for n in (1, 2, 3)))
        ]
        assert starts(db, runs[0]["run_id"]) == [killed, killed + LEASE * SECOND]


async def test_a_run_that_kills_its_worker_each_time_ends_and_frees_its_thread(db: Path) -> None:
    clock = TimerClock()
    async with workers(db, clock) as (place, client):
        await assistant(client, "kills", max_attempts=2)
        there = [await place.worker("kills", "counting") for _ in range(3)]
        for worker in there:
            await worker.says("claiming")
        alive = {asyncio.create_task(worker.gone()) for worker in there}
        deadly = await say(client, place, "a", assistant="kills")
        queued = await say(client, place, "b")
        for _ in range(2):
            _, alive = await asyncio.wait(alive, return_when=asyncio.FIRST_COMPLETED)
            clock.forward(LEASE)
        ended = (await client.runs.join("t", deadly["run_id"]))["run"]
        assert (ended["status"], ended["reason"], ended["attempt"]) == ("error", "MAX_ATTEMPTS", 2)
        assert (await client.runs.join("t", queued["run_id"]))["run"]["status"] == "success"
        assert sorted(worker.process.returncode or 0 for worker in there) == [-KILL, -KILL, 0]
        assert changes(db, deadly["run_id"]) == ["pending", "running", "pending", "running", "error"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_worker_that_dies_before_it_acknowledges_a_stop_leaves_nothing_to_do_again(
    db: Path, strategy: str
) -> None:
    clock = TimerClock()
    async with workers(db, clock) as (place, client):
        await assistant(client, stop_grace=3600)
        first = await place.worker()
        run = await say(client, place, "a", stops=["1.2"])
        await place.gate.reached("a 1.2")
        first.send(STOP)
        successor = await say(client, place, "b", strategy)
        await first.kill()
        await place.worker()
        clock.forward(LEASE)
        ended = (await client.runs.join("t", successor["run_id"]))["run"]
        assert (ended["status"], ended["attempt"]) == ("success", 1)
        kept = ["a", "a 1", "a 2"] if strategy == "interrupt" else []
        assert await contents(client) == [*kept, "b", "b 1", "b 2", "b 3"]
        end = "interrupted" if strategy == "interrupt" else "deleted"
        assert changes(db, run["run_id"]) == ["pending", "running", end]
        if strategy == "rollback":
            with pytest.raises(RunRolledBack):
                await client.runs.get("t", run["run_id"])
