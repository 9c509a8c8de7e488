"""A worker as a process of its own, for tests that read what it logs and stop it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class Worker:
    """A program that prints `ready` when it claims, and logs lines to stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: list[str] = []

    async def logs(self, *words: str) -> None:
        """Wait until it logs, or find that it has logged, a line that is exactly these words."""
        wanted = " ".join(words)
        assert self._process.stderr is not None
        while wanted not in self._lines:
            line = await self._process.stderr.readline()
            assert line, f"the worker ended without logging {wanted!r}: {self._lines}"
            self._lines.append(line.decode().strip())

    async def end(self, number: signal.Signals) -> int:
        """Send the signal and return the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        _, rest = await self._process.communicate()
        self._lines += rest.decode().splitlines()
        assert self._process.returncode is not None
        return self._process.returncode


@asynccontextmanager
async def working(command: Sequence[str], address: str) -> AsyncIterator[Worker]:
    """Start a worker and wait until it is ready; kill it at the end if it is there still."""
    process = await asyncio.create_subprocess_exec(
        *command, "--server", address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    worker = Worker(process)
    try:
        assert process.stdout is not None
        if not (await process.stdout.readline()).startswith(b"ready"):
            raise AssertionError((await process.communicate())[1].decode())
        yield worker
    finally:
        await worker.end(signal.SIGKILL)
