"""Graph code that would end the process, in whatever it starts: its run pays, and everybody else goes on."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from doubletext import AssistantNotFound, Client
from doubletext.types import CreatedRun
from tests.cli.command_line import ROOT
from tests.support.server_process import process

GRAPHS: Final = """
import asyncio, sys, threading
from doubletext import graph

async def leave(how):
    how()

def interrupt():
    raise KeyboardInterrupt

@graph
async def child_task(ctx):
    await asyncio.gather(leave(lambda: sys.exit(3)), asyncio.sleep(60))

@graph
async def interrupted_task(ctx):
    await asyncio.create_task(leave(interrupt))

@graph
async def group(ctx):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave(sys.exit))

@graph
async def forgotten_task(ctx):
    task = asyncio.create_task(leave(sys.exit))
    while not task.done():
        await asyncio.sleep(0)
    yield {"went on": True}

@graph
async def callback(ctx):
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    yield {"went on": True}

@graph
async def thread(ctx):
    await asyncio.to_thread(sys.exit, 5)

@graph
async def plain_thread(ctx):
    started = threading.Thread(target=sys.exit)
    started.start()
    started.join()
    yield {"went on": True}
"""
ENDS: Final = {
    "child_task": ("error", "SystemExit"),
    "interrupted_task": ("error", "KeyboardInterrupt"),
    "group": ("error", "SystemExit"),
    "forgotten_task": ("success", None),
    "callback": ("success", None),
    "thread": ("error", "SystemExit"),
    "plain_thread": ("success", None),
}


@asynccontextmanager
async def working(address: str, log: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("w") as stderr:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "doubletext", "worker", "--connect", address, *options, cwd=ROOT, stderr=stderr
        )
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


async def created(client: Client, graph: str) -> CreatedRun:
    """A run of the graph, as soon as a worker has made its assistant."""
    while True:
        try:
            return await client.runs.create(graph, graph, if_thread_not_exists="create")
        except AssistantNotFound:
            await asyncio.sleep(0)


@pytest.mark.parametrize("executor", ["server", "worker"])
async def test_a_graph_that_exits_ends_its_own_run_and_nothing_else(tmp_path: Path, executor: str) -> None:
    file = tmp_path / "exiting.py"
    file.write_text(GRAPHS)
    graphs = [part for name in ENDS for part in ("--graphs", f"{file}:{name}")]
    async with AsyncExitStack() as stack:
        own = graphs if executor == "server" else []
        server = await stack.enter_async_context(process(tmp_path / "d.db", *own))
        client = await stack.enter_async_context(Client(server.address))
        ends = server.end
        if executor == "worker":
            log = tmp_path / "worker.log"
            worker = await stack.enter_async_context(working(server.address, log, *graphs))
        runs = {name: await created(client, name) for name in ENDS}
        for name, (status, kind) in ENDS.items():
            run = (await client.runs.join(name, runs[name]["run_id"]))["run"]
            error = run["error"]
            assert (run["status"], error["type"] if error else None) == (status, kind), name
            assert run["attempt"] == 1
        if executor == "worker":
            assert worker.returncode is None
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0
        assert await ends(signal.SIGTERM) == 0
