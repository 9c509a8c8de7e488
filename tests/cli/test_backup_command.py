"""Backups, and a check, of a file that a server is writing to, each by a process of its own."""

import asyncio
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Final

from doubletext import Client
from doubletext.types import MultitaskStrategy
from doubletext_server.store.check import check
from tests.cli.command_line import invoke
from tests.cli.processes import execute
from tests.support.server import said
from tests.support.server_process import process

WRITERS: Final = 8
STRATEGIES: Final[tuple[MultitaskStrategy, ...]] = ("enqueue", "interrupt", "enqueue", "rollback")

IN_SMALL_STEPS: Final = """
import sys
from doubletext_server.store.sqlite import backup

backup.STEP = 1
backup.backup(sys.argv[1], sys.argv[2])
"""


class Writers:
    """They create runs one after the other, each on a thread of its own. `acknowledged` are the runs answered for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.acknowledged: list[str] = []
        self._came = asyncio.Condition()

    async def write(self, thread_id: str) -> None:
        await self._client.threads.create(thread_id)
        for number in count():
            run = await self._client.runs.create(
                thread_id,
                "agent",
                input={**said("what's the weather in sf?"), "sleep": 0.01 * (number % 3)},
                multitask_strategy=STRATEGIES[number % len(STRATEGIES)],
            )
            async with self._came:
                self.acknowledged.append(run["run_id"])
                self._came.notify_all()

    async def reach(self, number: int) -> None:
        """Wait until so many are acknowledged."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.acknowledged) >= number)


def kept(path: Path) -> set[str]:
    """The runs that the file knows, the rolled-back ones among them."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            run_id for (run_id,) in connection.execute("SELECT run_id FROM runs UNION SELECT run_id FROM tombstones")
        }


async def test_a_backup_beside_eight_writers_is_sound_and_holds_all_that_was_acknowledged_before(
    tmp_path: Path,
) -> None:
    db, first, second = tmp_path / "served.db", tmp_path / "first.db", tmp_path / "second.db"
    async with process(db) as server, Client(server.address) as client:
        writers = Writers(client)
        writing = [asyncio.create_task(writers.write(f"t{number}")) for number in range(WRITERS)]
        await writers.reach(300)
        acknowledged: list[set[str]] = []
        for target, command in (
            (first, ("-m", "doubletext", "backup", "--db", str(db), str(first))),
            (second, ("-c", IN_SMALL_STEPS, str(db), str(second))),
        ):
            acknowledged.append(set(writers.acknowledged))
            assert await execute(*command) == (0, f"{first}: {first.stat().st_size} bytes\n" if target is first else "")
            await writers.reach(len(acknowledged[-1]) + WRITERS)
        live = await execute("-m", "doubletext", "check", str(db))
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
    for target, before in zip((first, second), acknowledged, strict=True):
        assert list(check(str(target)).lines()) == []
        assert before <= kept(target)
    assert live[0] == 0, live
    assert live[1].startswith(f"ok: {WRITERS} threads, ")

    async with process(first) as server, Client(server.address) as client:
        await asyncio.gather(*(finished(client, f"t{number}") for number in range(WRITERS)))


async def finished(client: Client, thread_id: str) -> None:
    """What waited when the backup was made is executed where it is served."""
    async for run in client.runs.list(thread_id, statuses=["pending", "running"]):
        await client.runs.join(thread_id, run["run_id"])
    assert (await client.threads.get(thread_id))["status"] != "busy"


def test_a_backup_that_is_refused_says_why_and_exits_with_1(played: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    target.touch()
    refused = invoke("backup", "--db", str(played), str(target))
    assert refused.exit_code == 1
    assert refused.output == f"Error: {target} is there already; choose another name, or move it away\n"
