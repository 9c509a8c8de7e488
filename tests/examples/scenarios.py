"""What a worker in any language must do. `command` starts one, whose graph `countdown` makes `steps` messages."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doubletext import Client
from tests.examples.worker import working
from tests.support.server import said
from tests.support.server_process import process

HELD = {"pause": 3600}
"""Input of a run that hangs after the first step of each attempt."""

PATIENT = ("--lease", "3600")
"""Of a server that, with a stop_grace as long, starts no successor before the worker has acknowledged the stop."""


async def set_up(client: Client) -> None:
    await client.assistants.create("countdown", assistant_id="countdown", stop_grace=3600)
    await client.threads.create("t")


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {**said(text), **more}


async def contents(client: Client, thread_id: str) -> list[str]:
    state = await client.threads.get_state(thread_id)
    return [message["content"] for message in state["values"]["messages"]]


async def stops_when_interrupted(command: Sequence[str], db: Path) -> None:
    """A run is stopped after its first step: that step stays, and its successor goes on at once, on top of it."""
    async with process(db, *PATIENT) as server, Client(server.address) as client:
        await set_up(client)
        async with working(command, server.address) as worker:
            first = await client.runs.create("t", "countdown", input=asked("one"))
            joined = await client.runs.join("t", first["run_id"])
            assert joined["run"]["status"] == "success"
            assert await contents(client, "t") == ["one", "3", "2", "1"]

            second = await client.runs.create("t", "countdown", input=asked("two", **HELD))
            await worker.logs(second["run_id"], "step", "6")
            third = await client.runs.create("t", "countdown", input=asked("three"), multitask_strategy="interrupt")
            joined = await client.runs.join("t", third["run_id"])
            assert joined["run"]["status"] == "success"
            await worker.logs(second["run_id"], "stopped:", "SUPERSEDED")
        stopped = await client.runs.get("t", second["run_id"])
        assert (stopped["status"], stopped["superseded_by"]) == ("interrupted", third["run_id"])
        assert await contents(client, "t") == ["one", "3", "2", "1", "two", "3", "three", "3", "2", "1"]


async def takes_up_what_is_said(command: Sequence[str], db: Path) -> None:
    """What steers a run becomes a step of it with its next one, and its graph heeds it."""
    async with process(db) as server, Client(server.address) as client:
        await set_up(client)
        async with working(command, server.address) as worker:
            run = await client.runs.create("t", "countdown", input=asked("one", steps=4, pause=1.5))
            await worker.logs(run["run_id"], "step", "2")
            faster = await client.runs.create(
                "t", "countdown", input=asked("faster", pause=0.01), multitask_strategy="steer"
            )
            joined = await client.runs.join("t", faster["run_id"], follow=True)
        assert (joined["run"]["run_id"], joined["run"]["merged"]) == (run["run_id"], [faster["run_id"]])
        assert await contents(client, "t") == ["one", "4", "3", "faster", "2", "1"]


async def hands_back_on_sigterm(command: Sequence[str], db: Path) -> None:
    """A worker told to end gives back its run unharmed, and another one goes on where it was."""
    async with process(db) as server, Client(server.address) as client:
        await client.threads.create("t")
        async with working(command, server.address) as worker:
            run = await client.runs.create("t", "countdown", input=asked("one", steps=2, **HELD))
            await worker.logs(run["run_id"], "step", "2")
            assert await worker.end(signal.SIGTERM) == 0
        released = await client.runs.get("t", run["run_id"])
        assert (released["status"], released["reason"], released["attempt"]) == ("pending", "RELEASED", 0)
        async with working(command, server.address):
            joined = await client.runs.join("t", run["run_id"])
        assert (joined["run"]["status"], joined["run"]["attempt"]) == ("success", 1)
        assert await contents(client, "t") == ["one", "2", "1"]


async def outlives_its_server(command: Sequence[str], db: Path) -> None:
    """The server is killed and started again, first while the worker waits for a run, then while it executes one."""
    async with process(db, *PATIENT) as server, Client(server.address) as client:
        await set_up(client)
        async with working(command, server.address) as worker:
            await server.end(signal.SIGKILL)
            async with process(db, "--listen", server.address, *PATIENT) as again:
                run = await client.runs.create("t", "countdown", input=asked("one", **HELD))
                await worker.logs(run["run_id"], "step", "2")
                await again.end(signal.SIGKILL)
            async with process(db, "--listen", server.address, *PATIENT):
                more = asked("two", steps=1)
                later = await client.runs.create("t", "countdown", input=more, multitask_strategy="interrupt")
                joined = await client.runs.join("t", later["run_id"])
                assert joined["run"]["status"] == "success"
                assert await contents(client, "t") == ["one", "3", "two", "1"]


async def tells_why_its_graph_failed(command: Sequence[str], db: Path) -> None:
    async with process(db) as server, Client(server.address) as client:
        await client.threads.create("t")
        async with working(command, server.address):
            run = await client.runs.create("t", "countdown", input=asked("one", steps=-1))
            joined = await client.runs.join("t", run["run_id"])
        assert joined["run"]["status"] == "error"
        assert joined["run"]["error"] is not None
        assert "steps" in joined["run"]["error"]["message"]
