"""The processes that are measured and those that load them, and what /proc says of them."""

import asyncio
import json
import os
import re
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from bench.measured import Window

ROOT: Final = Path(__file__).parents[2]
TICKS: Final = os.sysconf("SC_CLK_TCK")


PATIENCE: Final = 120.0
"""Seconds that a load process may take beyond what it was told to."""


class LoadFailed(Exception):
    """Calls failed: what was measured is worth nothing."""


class Child:
    """A process of Python's that says a line once it is ready; `said` is that line."""

    said: str

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._arguments = arguments

    async def start(self, *, waits: bool = True) -> None:
        """`waits`: until it has said its line."""
        pipe = asyncio.subprocess.PIPE
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdin=pipe, stdout=pipe, stderr=log, cwd=ROOT / "scripts"
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        if not waits:
            return
        self.said = (await self.stdout.readline()).decode().strip()
        if not self.said:
            raise LoadFailed(f"{' '.join(self._arguments)} did not start:\n{self._log.read_text()}")

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def cpu_seconds(self) -> float:
        """CPU time since its start, of all its threads, in the kernel or not."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self, which: str = "VmHWM") -> float:
        """Its resident memory: VmHWM the peak since it started, VmRSS now."""
        found = re.search(rf"^{which}:\s+(\d+) kB$", self._proc("status"), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024


@dataclass
class Server:
    """A server, with those that work for it: their CPU time and memory are counted with its own."""

    address: str
    children: list[Child]
    db: Path | None = None

    def cpu_seconds(self) -> float:
        return sum(child.cpu_seconds() for child in self.children)

    def memory_mib(self, which: str = "VmHWM") -> float:
        return sum(child.memory_mib(which) for child in self.children)


class Load:
    """A process of callers, connected to a server and ready to make one kind of call."""

    def __init__(self, child: Child, server: Server) -> None:
        self._child = child
        self.server = server

    async def window(self, callers: int, seconds: float = 300, calls: int = 1_000_000_000) -> Window:
        """Let so many callers call, one call after the other each, until the time or the calls are used up.

        Raises LoadFailed when a call failed.
        """
        used, began = self.server.cpu_seconds(), perf_counter()
        took, series = await self.answer(callers, seconds, calls)
        assert took <= perf_counter() - began
        return Window(took, series, self.server.cpu_seconds() - used)

    async def answer(
        self, callers: int, seconds: float = 300, calls: int = 1_000_000_000
    ) -> tuple[float, dict[str, "array[float]"]]:
        """What the load process says of such a window: how long it was, and the series."""
        order = {"callers": callers, "seconds": seconds, "calls": calls}
        self._child.stdin.write(f"{json.dumps(order)}\n".encode())
        try:
            line = await asyncio.wait_for(self._child.stdout.readline(), seconds + PATIENCE)
        except TimeoutError:
            raise LoadFailed("calls are not answered") from None
        if not line:
            raise LoadFailed("the load process ended")
        told: dict[str, Any] = json.loads(line)
        if told["error"]:
            raise LoadFailed(told["error"])
        series: dict[str, array[float]] = {}
        for name, length in told["series"].items():
            series[name] = array("d")
            series[name].frombytes(await self._child.stdout.readexactly(length * series[name].itemsize))
        return told["seconds"], series
