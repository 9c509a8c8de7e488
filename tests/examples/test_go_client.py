"""The client and the worker in Go, as processes, on a server that is one too."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from doubletext import Client
from tests.examples import scenarios
from tests.examples.worker import working
from tests.support.server_process import process

PATH = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])

pytestmark = [
    pytest.mark.skipif(
        shutil.which("go") is None,
        reason="go is missing: install Go 1.25 or newer, from go.dev/dl or your system's packages",
    ),
    pytest.mark.skipif(shutil.which("buf", path=PATH) is None, reason="buf is missing: scripts/test installs it"),
    pytest.mark.timeout(60, func_only=True),  # not counting what the fixtures build
]


async def test_the_client_says_who_is_in_its_way_and_interrupts_it(go_programs: Path, tmp_path: Path) -> None:
    async with process(tmp_path / "go.db") as server, Client(server.address) as client:

        async def say(text: str, *options: str) -> asyncio.subprocess.Process:
            flags = ("--server", server.address, "--thread", "t", "--assistant", "countdown", *options)
            pipe = asyncio.subprocess.PIPE
            return await asyncio.create_subprocess_exec(go_programs / "client", *flags, text, stdout=pipe, stderr=pipe)

        async with working([str(go_programs / "worker")], server.address) as worker:
            first = await say("one", "--input", json.dumps(scenarios.HELD))
            assert first.stdout is not None
            run_id = (await first.stdout.readline()).decode().split()[1]
            await worker.logs(run_id, "step", "2")

            code, shown, complaint = await ended(await say("two", "--strategy", "reject"))
            assert (code, shown) == (1, [])
            assert complaint == [f"refused: thread t is busy with run {run_id}, which is running"]

            code, shown, complaint = await ended(await say("three", "--strategy", "interrupt"))
            assert (code, complaint) == (0, [])
            successor = shown[0].split()[1]
            assert shown[1:] == [f"supersedes {run_id}, now interrupted", "success: 1"]
            assert await ended(first) == (1, [], [f"interrupted: superseded by {successor}"])
        assert await scenarios.contents(client, "t") == ["one", "3", "three", "3", "2", "1"]


async def test_the_worker_stops_when_interrupted_and_keeps_what_was_committed(
    go_programs: Path, tmp_path: Path
) -> None:
    await scenarios.stops_when_interrupted([str(go_programs / "worker")], tmp_path / "go.db")


async def test_the_worker_takes_up_what_is_said(go_programs: Path, tmp_path: Path) -> None:
    await scenarios.takes_up_what_is_said([str(go_programs / "worker")], tmp_path / "go.db")


async def test_the_worker_hands_back_its_run_on_sigterm(go_programs: Path, tmp_path: Path) -> None:
    await scenarios.hands_back_on_sigterm([str(go_programs / "worker")], tmp_path / "go.db")


async def test_the_worker_outlives_its_server(go_programs: Path, tmp_path: Path) -> None:
    await scenarios.outlives_its_server([str(go_programs / "worker")], tmp_path / "go.db")


async def test_the_worker_tells_why_its_graph_failed(go_programs: Path, tmp_path: Path) -> None:
    await scenarios.tells_why_its_graph_failed([str(go_programs / "worker")], tmp_path / "go.db")


async def ended(process: asyncio.subprocess.Process) -> tuple[int, list[str], list[str]]:
    """Wait until it has ended; what it exits with and prints, to stdout and to stderr."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode().splitlines()
