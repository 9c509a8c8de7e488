"""A case: a folder, the processes that it starts there, and what it saw."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from doubletext import Client

GRAPHS: Final = Path(__file__).parent / "graphs.py"
DOUBLETEXT: Final = (sys.executable, "-m", "doubletext")
STARTS_WITHIN: Final = 60
"""Seconds."""


@dataclass(frozen=True)
class Seen:
    right: bool
    figure: str


Play = Callable[["Place"], Awaitable[Seen]]


@dataclass(frozen=True)
class Case:
    name: str
    then: str
    """What was seen before it was mended."""
    play: Play


class Cases(dict[str, Case]):
    """By their names, in the order in which they are written."""

    def case(self, then: str) -> Callable[[Play], Play]:
        def keep(play: Play) -> Play:
            name = play.__name__
            self[name] = Case(name, then, play)
            return play

        return keep


@dataclass
class Served:
    """A server. It may be ended, and `start` again on its port and its file."""

    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    ends: AsyncExitStack
    address: str = "127.0.0.1:0"
    process: asyncio.subprocess.Process = field(init=False)

    async def start(self) -> "Served":
        said = self.log.with_suffix(".out")
        command = (*self.command, "--listen", self.address)
        with self.log.open("ab") as log, said.open("wb") as out:  # a pipe would be held by what the server forks
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=out, stderr=log, env={**os.environ, **self.env}
            )
        self.ends.push_async_callback(functools.partial(ended, self.process))
        async with asyncio.timeout(STARTS_WITHIN):
            while not (line := said.read_text()).endswith("\n"):
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)
        self.address = line.split()[-1]
        return self

    async def end(self, number: signal.Signals = signal.SIGKILL, within: float = 30) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), within)

    @property
    def resident(self) -> int:
        """Its memory, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    @property
    def cpu(self) -> float:
        """The time it has computed, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


class Place:
    """Where one case plays. All that it starts is killed at its end."""

    def __init__(self, folder: Path, ends: AsyncExitStack) -> None:
        self.folder = folder
        self._ends = ends

    async def serve(
        self,
        *options: str,
        graphs: tuple[str, ...] = (),
        db: str = "d.db",
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Served:
        command = (*prefix, *DOUBLETEXT, "serve", "--db", str(self.folder / db), *options, *named(graphs))
        return await Served(command, self.folder / f"{db}.log", env or {}, self._ends).start()

    async def worker(self, server: Served, *graphs: str, options: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
        """A worker that serves these graphs by the time it is returned."""
        with (self.folder / "worker.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(*DOUBLETEXT, "worker", "--connect", server.address, *options, *named(graphs)), stderr=log
            )
        self._ends.push_async_callback(functools.partial(ended, process))
        async with Client(server.address) as client, asyncio.timeout(STARTS_WITHIN):
            while not set(graphs) <= {found["assistant_id"] async for found in client.assistants.list()}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return process

    async def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """`doubletext` of these arguments, to its end."""

        def run() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run((*DOUBLETEXT, *arguments), check=False, capture_output=True, timeout=60, **options)

        return await asyncio.to_thread(run)

    @asynccontextmanager
    async def client(self, server: Served, **options: Any) -> AsyncIterator[Client]:
        async with Client(server.address, **options) as client:
            yield client


def named(graphs: tuple[str, ...]) -> list[str]:
    return [part for name in graphs for part in ("--graphs", f"{GRAPHS}:{name}")]


async def started(client: Client, graph: str, **fields: Any) -> str:
    """A run of this graph on a thread of its own."""
    thread = await client.threads.create()
    return (await client.runs.create(thread["thread_id"], graph, **fields))["run_id"]


async def end_of(client: Client, run_id: str, seconds: float = 30) -> dict[str, Any]:
    """The run, once it has ended; TimeoutError if it has not by then."""
    joined = await asyncio.wait_for(client.runs.join(None, run_id), seconds)
    run: dict[str, Any] = dict(joined["run"])
    return run


class Probe:
    """Somebody else's CreateRun, again and again: how long each was, in seconds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.took: list[float] = []

    @property
    def slowest(self) -> float:
        return max(self.took)

    @property
    def p99(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.99)]

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator["Probe"]:
        thread = (await self._client.threads.create())["thread_id"]

        async def ask() -> None:
            while True:
                began = time.monotonic()
                try:
                    await self._client.runs.create(thread, "echo", multitask_strategy="interrupt")
                finally:
                    self.took.append(time.monotonic() - began)
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(ask())
        try:
            await asyncio.sleep(0.5)
            self.usual = self.slowest
            self.took.clear()
            yield self
            await asyncio.sleep(0.3)
        finally:
            asking.cancel()
            done, _ = await asyncio.wait([asking])
        for task in done:
            if not task.cancelled():
                task.result()

    usual: float
    """The slowest before the trouble began."""
