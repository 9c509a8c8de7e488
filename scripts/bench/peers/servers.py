"""Processes that a system is made of. Standard library only: it runs in every peer's venv."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
PATIENCE: Final = 60.0


class NotStarted(Exception):
    """A server did not answer; the message ends with what it said."""


class Server:
    """A process with all that it starts, as one group, which is killed as one."""

    def __init__(self, name: str, folder: Path, *command: str, env: Mapping[str, str] | None = None) -> None:
        self._log = folder / f"{name}.log"
        self._command = command
        self._folder = folder
        self._env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "DO_NOT_TRACK": "1", **(env or {})}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Start it, and return when `ready` says so. Raises NotStarted."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, cwd=self._folder, env=self._env, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while not await ready():
            if self._process.returncode is not None or time.monotonic() > until:
                raise NotStarted(f"{self._command[0]}: {self._log.read_text(errors='replace')[-2000:]}")
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End the whole group with SIGKILL, and wait until its first process is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
