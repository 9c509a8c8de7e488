"""A state that shrinks: keys and messages are removed by a graph, by an input and by hand, and stay so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from doubletext import Context, graph
from tests.support.server import gates, serving

ABSENT: Final = {"doubletext:absent": True}


def message(name: str) -> dict[str, str]:
    return {"id": name, "role": "user", "content": name}


@graph
async def forgetful(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    yield {"draft": "a b", "kept": True}
    yield {"draft": ctx.absent, "messages": [{"id": "1", "remove": True}]}


@pytest.mark.parametrize("by_worker", [False, True])
async def test_a_graph_removes_a_key_and_a_message(tmp_path: Path, by_worker: bool) -> None:
    async with serving(tmp_path / "test.db", (forgetful,), by_worker=by_worker) as service:
        thread_id = (await service.client.threads.create())["thread_id"]
        given = {"messages": [message("1"), message("2")], "once": 1}
        run = await service.client.runs.create(thread_id, "forgetful", input=given)
        state = (await service.client.runs.join(thread_id, run["run_id"]))["state"]["values"]
        assert state == {"messages": [message("2")], "once": 1, "kept": True}
        steps = [each["values"] async for each in service.client.threads.list_states(thread_id)]
        assert [each.get("draft") for each in steps] == [None, "a b", None]
    async with serving(tmp_path / "test.db", (forgetful,)) as service:
        assert (await service.client.threads.get_state(thread_id))["values"] == state


@graph
async def forgets_and_waits(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    yield {"draft": ctx.absent, "messages": [{"id": "1", "remove": True}]}
    await gates["never"].wait()


async def test_what_is_removed_comes_back_with_a_rollback(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", (forgets_and_waits,)) as service:
        thread_id = (await service.client.threads.create())["thread_id"]
        before = {"draft": 1, "messages": [message("1")]}
        await service.client.threads.update_state(thread_id, before)
        run = await service.client.runs.create(thread_id, "forgets_and_waits")
        await gates["never"].reached.wait()
        assert (await service.client.threads.get_state(thread_id))["values"] == {"messages": []}
        await service.client.runs.cancel(thread_id, run["run_id"], action="rollback")
        assert (await service.client.threads.get_state(thread_id))["values"] == before


async def test_an_input_and_an_update_by_hand_remove_too(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db") as service:
        thread_id = (await service.client.threads.create())["thread_id"]
        await service.client.threads.update_state(thread_id, {"a": 1, "b": 2, "c": 3})
        run = await service.client.runs.create(thread_id, "failing", input={"a": ABSENT})
        await service.client.runs.join(thread_id, run["run_id"])
        await service.client.threads.update_state(thread_id, {"b": ABSENT})
        values = (await service.client.threads.get_state(thread_id))["values"]
        assert {key: values[key] for key in values if key != "messages"} == {"c": 3}
