"""The examples of the double-texting guides, played through the public client, with the outcomes that they print.

The guides pause before the second call so that the first run is at work; here that is waited for.
"""

from typing import Any

import pytest

from doubletext import RunNotFound, RunRolledBack, ThreadBusy
from tests.support.server import Service

pytestmark = pytest.mark.executors("server", "worker")

SF: dict[str, Any] = {"messages": [{"role": "user", "content": "what's the weather in sf?"}]}
NYC: dict[str, Any] = {"messages": [{"role": "user", "content": "what's the weather in nyc?"}]}
HUMAN_SF: dict[str, Any] = {"messages": [{"role": "human", "content": "whats the weather in sf?"}]}
HUMAN_NYC: dict[str, Any] = {"messages": [{"role": "human", "content": "whats the weather in nyc?"}]}


async def asked(service: Service, thread_id: str) -> list[str]:
    """The questions in the thread's state, in order."""
    state = await service.client.threads.get_state(thread_id)
    return [m["content"] for m in state["values"]["messages"] if m["role"] in ("user", "human")]


async def roles(service: Service, thread_id: str) -> list[str]:
    state = await service.client.threads.get_state(thread_id)
    return [m["role"] for m in state["values"]["messages"]]


async def running(service: Service, thread_id: str, run_id: str) -> None:
    """Wait until the run is at work."""
    while (await service.client.runs.join(thread_id, run_id, wait=0.02))["run"]["status"] == "pending":
        pass


@pytest.mark.parametrize(("first_input", "second_input"), [(SF, NYC), (HUMAN_SF, HUMAN_NYC)])
async def test_reject_refuses_the_second_run_and_the_first_one_finishes(
    service: Service, first_input: dict[str, Any], second_input: dict[str, Any]
) -> None:
    client = service.client
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "agent", input={**first_input, "sleep": 0.2})

    with pytest.raises(ThreadBusy) as refused:
        await client.runs.create(thread["thread_id"], "agent", input=second_input, multitask_strategy="reject")
    assert refused.value.code.name == "ALREADY_EXISTS"
    assert refused.value.reason == "THREAD_BUSY"
    assert refused.value.active_run_id == run["run_id"]

    joined = await client.runs.join(thread["thread_id"], run["run_id"])
    assert joined["run"]["status"] == "success"
    messages = (await client.threads.get_state(thread["thread_id"]))["values"]["messages"]
    assert [m["role"] for m in messages] == [first_input["messages"][0]["role"], "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    assert "San Francisco" in messages[3]["content"]


async def test_interrupt_keeps_the_first_question_and_answers_the_second(service: Service) -> None:
    client = service.client
    thread = await client.threads.create()
    interrupted = await client.runs.create(thread["thread_id"], "agent", input={**SF, "sleep": 30})
    await running(service, thread["thread_id"], interrupted["run_id"])
    run = await client.runs.create(thread["thread_id"], "agent", input=NYC, multitask_strategy="interrupt")
    assert [each["run_id"] for each in run["superseded"]] == [interrupted["run_id"]]

    await client.runs.join(thread["thread_id"], run["run_id"])

    assert await roles(service, thread["thread_id"]) == ["user", "user", "assistant", "tool", "assistant"]
    assert await asked(service, thread["thread_id"]) == ["what's the weather in sf?", "what's the weather in nyc?"]
    first = await client.runs.get(thread["thread_id"], interrupted["run_id"])
    assert (first["status"], first["superseded_by"]) == ("interrupted", run["run_id"])


async def test_interrupt_keeps_the_partial_steps_of_the_first_run(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "sf?", steps_made=2)
    second = await service.say(thread_id, "nyc?", "interrupt", steps=1)
    await service.client.runs.join(thread_id, second["run_id"])

    assert await service.contents(thread_id) == ["sf?", "sf? 1", "sf? 2", "nyc?", "nyc? 1"]
    assert (await service.client.runs.get(thread_id, first["run_id"]))["status"] == "interrupted"


@pytest.mark.parametrize("pause", [True, False], ids=["first-run-at-work", "no-pause"])
async def test_rollback_leaves_only_the_second_conversation(service: Service, pause: bool) -> None:
    client = service.client
    thread = await client.threads.create()
    rolled_back = await client.runs.create(thread["thread_id"], "agent", input={**SF, "sleep": 30})
    if pause:
        await running(service, thread["thread_id"], rolled_back["run_id"])
    run = await client.runs.create(thread["thread_id"], "agent", input=NYC, multitask_strategy="rollback")

    await client.runs.join(thread["thread_id"], run["run_id"])

    assert await roles(service, thread["thread_id"]) == ["user", "assistant", "tool", "assistant"]
    assert await asked(service, thread["thread_id"]) == ["what's the weather in nyc?"]
    with pytest.raises(RunRolledBack) as gone:
        await client.runs.get(thread["thread_id"], rolled_back["run_id"])
    assert isinstance(gone.value, RunNotFound)
    assert gone.value.reason == "RUN_ROLLED_BACK"
    assert gone.value.superseded_by == run["run_id"]


async def test_enqueue_holds_both_conversations_in_order(service: Service) -> None:
    client = service.client
    thread = await client.threads.create()
    first = await client.runs.create(thread["thread_id"], "agent", input=SF)
    second = await client.runs.create(thread["thread_id"], "agent", input=NYC, multitask_strategy="enqueue")

    await client.runs.join(thread["thread_id"], second["run_id"])

    assert await roles(service, thread["thread_id"]) == ["user", "assistant", "tool", "assistant"] * 2
    assert await asked(service, thread["thread_id"]) == ["what's the weather in sf?", "what's the weather in nyc?"]
    assert (await client.runs.get(thread["thread_id"], first["run_id"]))["status"] == "success"


async def test_the_four_calls_of_the_rules_page_work_on_one_thread(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "Analyze Q1 data")
    with pytest.raises(ThreadBusy):
        await service.say(thread_id, "Analyze Q2", "reject")
    queued = await service.say(thread_id, "Also check Q3", "enqueue")
    assert queued["queue_position"] == 1
    instead = await service.say(thread_id, "Use Q2 data instead", "rollback", after={"0": "never"})
    assert [run["run_id"] for run in instead["superseded"]] == [first["run_id"], queued["run_id"]]
    last = await service.say(thread_id, "Focus on revenue", "interrupt")
    await service.client.runs.join(thread_id, last["run_id"])

    assert (await service.contents(thread_id))[-2:] == ["Focus on revenue", "Focus on revenue 1"]
    assert "Analyze Q1 data" not in await service.contents(thread_id)
