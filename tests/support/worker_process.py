"""Workers as processes that tests stop, kill and wake, and the gate at which their graphs wait for the test."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.server_process import Process

ROOT: Final = Path(__file__).parents[2]
GRAPHS: Final = Path(__file__).parent / "graphs.py"


class Child:
    """A process of Python's with pipes. `log`: what it wrote to stderr so far."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.log: list[str] = []
        self._more = asyncio.Event()

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self._arguments, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
        )
        self._reading = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log.append(line.decode())
            self._more.set()

    async def says(self, text: str) -> None:
        """Wait until its log has the text."""
        while not any(text in line for line in self.log):
            self._more.clear()
            await self._more.wait()

    async def answer_to(self, line: str) -> dict[str, Any]:
        """Of a commanded worker."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n".encode())
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def gone(self) -> int:
        code = await self.process.wait()
        await self._reading
        return code

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.send(signal.SIGKILL)
        await self.gone()


class Gate:
    """Where graphs of other processes wait. `port` is told to them in their input."""

    port: int

    def __init__(self) -> None:
        self._here: dict[str, asyncio.Event] = {}
        self._open: dict[str, asyncio.Event] = {}

    def _event(self, events: dict[str, asyncio.Event], name: str) -> asyncio.Event:
        return events.setdefault(name, asyncio.Event())

    async def reached(self, *names: str) -> None:
        """Wait until the graphs of these names are here: "text attempt.steps made"."""
        for name in names:
            await self._event(self._here, name).wait()

    def open(self, *names: str) -> None:
        for name in names:
            self._event(self._open, name).set()

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        self._event(self._here, name).set()
        gone = asyncio.create_task(reader.read())
        opened = asyncio.create_task(self._event(self._open, name).wait())
        try:
            await asyncio.wait([gone, opened], return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            gone.cancel()
            writer.write(b"\n")
            writer.close()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Gate"]:
        server = await asyncio.start_server(self._come, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.open(*self._here)
            server.close()


class Cluster:
    """Workers of a server, each a process of its own, and a gate at which their graphs wait."""

    def __init__(self, address: str, gate: Gate, children: AsyncExitStack) -> None:
        self.address = address
        self.gate = gate
        self._children = children

    async def worker(self, *graphs: str, slots: int = 10) -> Child:
        """`doubletext worker` of these graphs of tests/support/graphs.py."""
        options = [option for name in graphs or ("counting",) for option in ("--graphs", f"{GRAPHS}:{name}")]
        return await self.child("doubletext", "worker", "--connect", self.address, "--slots", str(slots), *options)

    async def commanded_worker(self) -> Child:
        return await self.child("tests.support.commanded_worker", self.address)

    async def child(self, *arguments: str) -> Child:
        """`python -m` of these arguments."""
        child = Child(*arguments)
        await child.start()
        self._children.push_async_callback(child.kill)
        return child


class ServerCluster(Cluster):
    """The server is a process too. It may be killed, and comes back on its port."""

    def __init__(self, db: Path, gate: Gate, options: tuple[str, ...], children: AsyncExitStack) -> None:
        super().__init__(f"127.0.0.1:{free_port()}", gate, children)
        self.db = db
        self._options = options

    async def serve(self, lease: float) -> None:
        options = ("--listen", self.address, "--lease", str(lease), *self._options)
        self.server = await Process(self.db, *options).start()
        self._children.push_async_callback(self.server.end, signal.SIGKILL)


@asynccontextmanager
async def server_cluster(db: Path, lease: float = 20, *options: str) -> AsyncIterator[ServerCluster]:
    """A cluster whose server is up, with these options; all that is in it is killed at the end."""
    async with Gate().kept() as gate, AsyncExitStack() as children:
        made = ServerCluster(db, gate, options, children)
        await made.serve(lease)
        yield made


@asynccontextmanager
async def cluster(address: str) -> AsyncIterator[Cluster]:
    """Workers of a server in the test's process; all of them are killed at the end."""
    async with Gate().kept() as gate, AsyncExitStack() as children:
        yield Cluster(address, gate, children)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
