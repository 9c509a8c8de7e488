"""An answer is made of one reading, or tells what happened between two: whatever comes in between is played here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from doubletext import RunNotFound, RunRolledBack
from tests.support.server import Service, gates


def before(service: Service, method: str, happens: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen just before the method of the store, or `change`, is called for the first time."""
    part = service.app.changes if method == "change" else service.app.store
    original = getattr(part, method)

    async def overtaken(*args: Any) -> Any:
        setattr(part, method, original)
        await happens()
        return await original(*args)

    setattr(part, method, overtaken)


READINGS = ["run_and_state", "state"]
"""Of which a join makes one; the other would be its second."""


@pytest.mark.parametrize("method", READINGS)
async def test_a_join_of_a_waiting_run_shows_the_state_of_the_same_moment(service: Service, method: str) -> None:
    """Between two readings the run in front would end, and the state be one in which ours has run."""
    thread_id = await service.thread()
    await service.started(thread_id, "front", steps_made=1)
    waits = await service.say(thread_id, "waits", "enqueue", steps=2)

    async def it_runs() -> None:
        gates["never front"].set()
        await service.client.runs.join(thread_id, waits["run_id"])

    before(service, method, it_runs)
    joined = await service.client.runs.join(thread_id, waits["run_id"], wait=0)
    shown = joined["run"]["status"], joined["state"]["step"], joined["state"]["run_id"] == waits["run_id"]
    assert shown in [("pending", 2, False), ("success", 6, True)]


async def test_a_join_of_a_run_that_is_rolled_back_between_its_readings_says_so(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    before(service, "run_and_state", lambda: service.say(thread_id, "b", "rollback"))
    with pytest.raises(RunRolledBack):
        await service.client.runs.join(thread_id, run["run_id"], wait=0)


async def test_a_join_of_a_run_whose_thread_is_deleted_between_its_readings_finds_none(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    before(service, "run_and_state", lambda: service.client.threads.delete(thread_id))
    with pytest.raises(RunNotFound):
        await service.client.runs.join(thread_id, run["run_id"], wait=0)


@pytest.mark.parametrize("method", READINGS)
async def test_who_was_joined_when_its_thread_was_deleted_sees_nothing_of_one_made_anew(
    service: Service, method: str
) -> None:
    thread_id = await service.thread()
    await service.say(thread_id, "first", steps=1)
    run = await service.started(thread_id, "a")

    async def another_thread() -> None:
        await service.client.threads.create(thread_id)
        for number in range(6):
            await service.client.threads.update_state(thread_id, {"later": number})

    joining = asyncio.create_task(service.client.runs.join(thread_id, run["run_id"]))
    while not service.app.hub.joiners:
        await service.client.threads.get(thread_id)
    before(service, method, another_thread)
    await service.client.threads.delete(thread_id)
    joined = await joining
    assert joined["run"]["status"] == "deleted"
    assert (joined["state"]["step"], joined["state"]["values"]) == (0, {})


async def test_deleting_the_record_of_a_run_that_is_rolled_back_meanwhile_says_so(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    before(service, "change", lambda: service.say(thread_id, "b", "rollback"))
    with pytest.raises(RunRolledBack):
        await service.client.runs.delete(thread_id, run["run_id"])
