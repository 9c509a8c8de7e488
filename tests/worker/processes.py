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

from tests.process import Process

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

    async def told(self, line: str) -> dict[str, Any]:
        """What it answers to a line."""
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


class Yard:
    """A server process that may be killed and comes back on its port, workers beside it, and a gate."""

    def __init__(self, db: Path, gate: Gate, lease: float, options: tuple[str, ...], children: AsyncExitStack) -> None:
        self.db = db
        self.gate = gate
        self.address = f"127.0.0.1:{free_port()}"
        self._options = ("--listen", self.address, "--lease", str(lease), *options)
        self._children = children

    async def serve(self) -> None:
        self.server = await Process(self.db, *self._options).start()
        self._children.push_async_callback(self.server.end, signal.SIGKILL)

    async def worker(self, *graphs: str, slots: int = 10) -> Child:
        """`doubletext worker` of these graphs of tests/worker/graphs.py."""
        options = [option for name in graphs or ("counting",) for option in ("--graphs", f"{GRAPHS}:{name}")]
        return await self.child("doubletext", "worker", "--connect", self.address, "--slots", str(slots), *options)

    async def hand(self) -> Child:
        return await self.child("tests.worker.byhand", self.address)

    async def child(self, *arguments: str) -> Child:
        """`python -m` of these arguments."""
        child = Child(*arguments)
        await child.start()
        self._children.push_async_callback(child.kill)
        return child


@asynccontextmanager
async def yard(db: Path, lease: float = 1, *options: str) -> AsyncIterator[Yard]:
    """A yard whose server is up, with these options; all that is in it is killed at the end."""
    async with Gate().kept() as gate, AsyncExitStack() as children:
        made = Yard(db, gate, lease, options, children)
        await made.serve()
        yield made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
