"""Crash points: at which of a server's writes, syncs and commits it ends, and how; and servers that end there.

    write   kill     before the n-th write, truncation or deletion of one of the database's files
            torn     when half of the n-th write is done
            mixed    the power fails before it: of what was not synced, half is on disk, and not in order
    sync    kill     before the n-th sync
            lost     the power fails before it: nothing that was not synced is on disk
            mixed    as above
            synced   the power fails after it
    commit  before   killed before the n-th COMMIT
            after    killed when it has returned, and nobody has been told of it
            power    the power fails then

The n-th of a process's life, from the making of the file on. Needs Linux and a C compiler.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.robustness.failpoints.launcher import Order

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
# fmt: off
MODES: Final = {
    "write":  ("kill", "torn", "mixed"),
    "sync":   ("kill", "lost", "mixed", "synced"),
    "commit": ("before", "after", "power"),
}
# fmt: on


@dataclass(frozen=True)
class Point:
    kind: str
    mode: str
    at: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.mode}/{self.at}"


class CannotCompile(Exception):
    """There is no failpoint on this machine; the message says why."""


def compile_failpoint(folder: Path) -> Path:
    """The library to be preloaded. Raises CannotCompile."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        raise CannotCompile("the failpoint is compiled, for Linux, by `cc`, which is not here")
    library = folder / "failpoint.so"
    command = (compiler, "-O1", "-shared", "-fPIC", "-pthread", "-o", library, HERE / "failpoint.c")
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise CannotCompile(f"the failpoint does not compile here: {made.stderr}")
    return library


class Server:
    """A server that may end of itself. `address` is where it listens; `counts` are the writes, syncs and commits of one
    that has stopped in order, None of one that has not."""

    address: str
    counts: dict[str, int] | None = None

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines
        self._pid = 0

    async def start(self) -> bool:
        """Whether it has come so far as to answer."""
        self._pid = int((await self._lines.readline()).split()[-1])
        line = (await self._lines.readline()).decode()
        self.address = line.removeprefix("listening on ").strip()
        return bool(line)

    async def gone(self) -> None:
        """Wait for its end."""
        if line := await self._lines.readline():
            numbers = line.decode().removeprefix("done ").split()
            self.counts = dict(zip(MODES, map(int, numbers), strict=True))
        await self._lines.read()
        self._pid = 0

    async def end(self, number: signal.Signals) -> None:
        """Send the signal, and wait for its end."""
        # Until the end of its output is read its pid is its own: its launcher reaps it no earlier than it dies.
        if self._pid and not self._lines.at_eof():
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)
            await self.gone()


class Launcher:
    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours

    @asynccontextmanager
    async def server(self, order: Order) -> AsyncIterator[Server]:
        """A server that has been forked; kills it at the end if it is there still."""
        end, its = os.pipe()
        socket.send_fds(self._socket, [json.dumps(asdict(order)).encode()], [its])
        os.close(its)
        lines = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(end, "rb", 0)
        )
        server = Server(lines)
        try:
            yield server
        finally:
            await server.end(signal.SIGKILL)
            transport.close()


@contextmanager
def launcher(library: Path) -> Iterator[Launcher]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.failpoints.launcher", str(its.fileno())],
            pass_fds=[its.fileno()],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )
        its.close()
        try:
            yield Launcher(ours)
        finally:
            ours.close()
            child.wait()
