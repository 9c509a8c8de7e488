"""Graph code that would end the process, in whatever it starts: its run pays, and everybody else goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from doubletext import AssistantNotFound, Client
from doubletext.types import CreatedRun
from tests.cli.command_line import ROOT
from tests.support.server_process import process

GRAPHS: Final = """
import asyncio, multiprocessing, sys, threading, time
from doubletext import graph

fork = multiprocessing.get_context("fork")

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

@graph
async def forked_and_ended(ctx):
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    await asyncio.sleep(0.1)  # time enough for a signal that came here by mistake
    yield {"went on": True}
"""
LEFT_BEHIND: Final = """
import multiprocessing, os, time
from doubletext import graph

def idle():
    os.close(1)  # else whoever reads the server's stdout waits for this process too
    time.sleep(60)

@graph
async def leaves_a_child(ctx):
    child = multiprocessing.get_context("fork").Process(target=idle)
    child.start()
    yield {"pid": child.pid}
"""
ENDS: Final = {
    "child_task": ("error", "SystemExit"),
    "interrupted_task": ("error", "KeyboardInterrupt"),
    "group": ("error", "SystemExit"),
    "forgotten_task": ("success", None),
    "callback": ("success", None),
    "thread": ("error", "SystemExit"),
    "plain_thread": ("success", None),
    "forked_and_ended": ("success", None),
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


async def test_a_child_that_outlives_its_server_keeps_no_other_from_the_file(tmp_path: Path) -> None:
    file, db = tmp_path / "forking.py", tmp_path / "d.db"
    file.write_text(LEFT_BEHIND)
    async with process(db, "--graphs", f"{file}:leaves_a_child") as server, Client(server.address) as client:
        run = await created(client, "leaves_a_child")
        state = (await client.runs.join("leaves_a_child", run["run_id"]))["state"]
        await server.end(signal.SIGKILL)
    try:
        async with process(db) as server, Client(server.address) as client:
            assert (await client.threads.get("leaves_a_child"))["status"] == "idle"
    finally:
        with suppress(ProcessLookupError):  # tests.support.reaper may have been here
            os.kill(int(state["values"]["pid"]), signal.SIGKILL)


async def test_who_finds_the_file_in_use_is_told_by_which_process(tmp_path: Path) -> None:
    async with process(tmp_path / "d.db") as server:
        with pytest.raises(AssertionError, match=rf"in use by another server \(process {server.pid}\)"):
            async with process(tmp_path / "d.db"):
                pass
