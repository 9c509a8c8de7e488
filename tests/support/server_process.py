"""The server as a process of its own, for tests that kill it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Process:
    """`doubletext serve` on a free port. `address` is where it listens, `log` where its stderr goes."""

    address: str

    def __init__(self, db: Path, *options: str) -> None:
        self.log = db.with_suffix(".log")
        self._command = ("-m", "doubletext", "serve", "--listen", "127.0.0.1:0", "--db", str(db), *options)

    async def start(self) -> "Process":
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        assert line.startswith("listening on "), self.log.read_text()
        self.address = line.split()[-1]
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    async def gone(self) -> int:
        """Wait until it has died of itself."""
        return await self._process.wait()

    async def end(self, number: signal.Signals) -> int:
        """Send the signal and return the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.gone()


@asynccontextmanager
async def process(db: Path, *options: str) -> AsyncIterator[Process]:
    """Start a server; kill it at the end if it is there still."""
    server = await Process(db, *options).start()
    try:
        yield server
    finally:
        await server.end(signal.SIGKILL)
