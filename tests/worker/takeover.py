"""What tests of takeovers ask: of callers, and of the events that are left."""

from pathlib import Path
from typing import Any

from doubletext import Client
from doubletext.types import CreatedRun
from tests.support.events import events, reading
from tests.support.server import said
from tests.support.worker_process import Cluster


async def say(client: Client, place: Cluster, text: str, strategy: Any = "enqueue", **more: Any) -> CreatedRun:
    assistant = more.pop("assistant", "counting")
    given = {**said(text), "gate": place.gate.port, **more}
    return await client.runs.create("t", assistant, input=given, multitask_strategy=strategy)


async def assistant(client: Client, name: str = "counting", **options: Any) -> None:
    """The assistant, before any worker makes it; and the thread `t`."""
    await client.assistants.create(name, assistant_id=name, **options)
    await client.threads.create("t")


async def contents(client: Client) -> list[str]:
    state = await client.threads.get_state("t")
    return [message["content"] for message in state["values"].get("messages", [])]


def changes(db: Path, run_id: str) -> list[str]:
    with reading(db) as connection:
        return [event.change[1] for event in events(connection, "t") if event.change and event.run_id == run_id]


def starts(db: Path, run_id: str) -> list[int]:
    """When the run has started, each time."""
    with reading(db) as connection:
        told = [event for event in events(connection, "t") if event.change and event.run_id == run_id]
    return [event.time for event in told if event.change and event.change[1] == "running"]
