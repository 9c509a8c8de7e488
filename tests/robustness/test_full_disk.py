"""A disk that fills up: what was acknowledged is there, the rest is refused honestly, and the server recovers alone.

The server's log is on that disk, too. Needs to mount a tmpfs, which takes root on Linux.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubletext import Client, NotReady
from tests.support.server_process import process

CLIENTS = 16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here, which takes root on Linux: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_every_acknowledged_run_is_there_after_room_was_made(small_disk: Path) -> None:
    async with process(small_disk / "test.db") as server, Client(server.address, retry_for=0) as client:
        acknowledged: list[tuple[str, str]] = []
        refusals: list[NotReady] = []

        async def create(number: int) -> None:
            """Create runs until the disk is full."""
            for turn in range(1000):
                thread_id = f"t{number}-{turn}"
                text = {"messages": [{"role": "user", "content": f"{thread_id} {'x' * 2000}"}]}
                try:
                    run = await client.runs.create(thread_id, "echo", input=text, if_thread_not_exists="create")
                except NotReady as refused:
                    refusals.append(refused)
                    return
                acknowledged.append((thread_id, run["run_id"]))

        await asyncio.gather(*(create(number) for number in range(CLIENTS)))
        assert len(refusals) == CLIENTS
        assert all(refused.reason == "NOT_READY" and refused.retry_after for refused in refusals)
        assert acknowledged
        for thread_id, run_id in acknowledged:
            assert (await client.runs.get(thread_id, run_id))["status"] in ("pending", "running", "success")

        enlarged = await asyncio.create_subprocess_exec("mount", "-o", "remount,size=64m", small_disk)
        assert await enlarged.wait() == 0

        joined = await asyncio.gather(*(client.runs.join(thread_id, run_id) for thread_id, run_id in acknowledged))
        assert [each["run"]["status"] for each in joined] == ["success"] * len(acknowledged)
        assert all(len(each["state"]["values"]["messages"]) == 2 for each in joined)
        there = {thread["thread_id"] async for thread in client.threads.list()}
        assert there == {thread_id for thread_id, _ in acknowledged}
        after = await client.runs.create("after", "echo", if_thread_not_exists="create")
        assert (await client.runs.join("after", after["run_id"]))["run"]["status"] == "success"
