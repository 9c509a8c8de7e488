"""How a Python worker ends: it claims no more, lets its runs finish, and hands back what is left."""

import asyncio
from pathlib import Path
from typing import Any

from doubletext import Worker
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.words import Reason, RunStatus
from tests.support.server import Service, gates, scripted
from tests.support.worker import claimers
from tests.worker.test_python_worker import at_work, idle, remotely


class Leaving:
    """A worker that a test stops."""

    def __init__(self, service: Service, **options: Any) -> None:
        self.worker = Worker(service.app.address, graphs=[scripted], **options)
        self.left = asyncio.create_task(self.worker.run())


def released(decision: Decision) -> bool:
    return any(run.status is RunStatus.PENDING and run.reason is Reason.RELEASED for run in decision.moved)


async def test_runs_finish_and_no_more_are_claimed(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service:
        leaving = Leaving(service)
        thread_id, other = await service.thread(), await service.thread()
        run = await service.started(thread_id, "a", steps_made=1)
        leaving.worker.stop()
        while claimers(service, "scripted"):
            await service.client.threads.get(thread_id)
        await service.say(other, "b")
        gates["never a"].set()
        assert await leaving.left is False
        joined = await service.client.runs.join(thread_id, run["run_id"], wait=0)
        assert (joined["run"]["status"], joined["run"]["attempt"]) == ("success", 1)
        assert await service.contents(thread_id) == ["a", "a 1", "a 2"]
        assert await service.statuses(other) == ["pending"]


async def test_a_second_stop_hands_back_at_once_what_still_runs(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service:
        leaving = Leaving(service, drain=3600)
        thread_id = await service.thread()
        await service.started(thread_id, "a", steps_made=1)
        leaving.worker.stop()
        while claimers(service, "scripted"):
            await service.client.threads.get(thread_id)
        with service.commit(released) as handed_back:
            leaving.worker.stop()
            await handed_back
        assert await leaving.left is False


async def test_what_does_not_finish_in_time_is_handed_back_and_goes_on_elsewhere(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service:
        leaving = Leaving(service, drain=0.05)
        thread_id = await service.thread()
        run = await service.started(thread_id, "a", steps_made=1)
        leaving.worker.stop()
        with service.commit(released) as handed_back:
            await handed_back
        assert await leaving.left is False
        left = await service.client.runs.get(thread_id, run["run_id"])
        assert (left["status"], left["attempt"], left["reason"]) == ("pending", 0, "RELEASED")
        gates["never a"].set()
        async with at_work(service):
            joined = await service.client.runs.join(thread_id, run["run_id"])
        assert (joined["run"]["status"], joined["run"]["attempt"]) == ("success", 1)


async def test_a_graph_that_does_not_stop_is_left_behind_and_fenced(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service:
        leaving = Leaving(service, drain=0.05)
        thread_id = await service.thread()
        run = await service.started(thread_id, "a", stubborn=True, steps_made=1, after={"1": "late"}, steps=2)
        leaving.worker.stop()
        assert await leaving.left is True
        before = await service.events(thread_id)
        left = await service.client.runs.get(thread_id, run["run_id"])
        assert (left["status"], left["attempt"]) == ("pending", 0)
        gates["late"].set()
        await idle(leaving.worker)
        assert await service.events(thread_id) == before


async def test_a_worker_without_runs_leaves_at_once(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service:
        leaving = Leaving(service, drain=3600)
        while not claimers(service, "scripted"):
            await service.client.assistants.get("scripted")
        leaving.worker.stop()
        assert await leaving.left is False
        while claimers(service, "scripted"):  # it is waited for no longer
            await service.client.assistants.get("scripted")


async def test_a_worker_that_is_cancelled_hands_its_runs_back_too(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service:
        leaving = Leaving(service, drain=0.05)
        thread_id = await service.thread()
        await service.started(thread_id, "a", steps_made=1)
        with service.commit(released) as handed_back:
            leaving.left.cancel()
            await handed_back
        await asyncio.wait([leaving.left])
        assert leaving.left.cancelled()
