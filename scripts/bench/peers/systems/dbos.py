"""DBOS on SQLite: an app of its own process, which callers ask over a socket."""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from bench.peers.servers import Server, free_port, listens
from bench.peers.systems.base import Refused, Work


class System:
    strategies = frozenset({"enqueue", "reject", "interrupt"})
    polling = 1.0  # seconds, the default of its queues and of its handles

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        command = ("-m", "bench.peers.systems.dbos_app", str(self._port), str(folder), str(self.polling))
        self._server = Server("dbos", folder, sys.executable, *command)
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def start(self) -> None:
        await self._server.start(lambda: listens(self._port))
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._answers = asyncio.create_task(self._hear(reader))

    async def kill(self) -> None:
        await self._server.kill()

    async def create(self, work: Work, strategy: str) -> Any:
        created = await self._ask({"create": {**work._asdict(), "strategy": strategy}})
        if not created:
            raise Refused
        return created

    async def join(self, created: Any) -> None:
        await self._ask({"join": created})

    async def inputs(self, thread: str) -> list[int]:
        raise NotImplementedError

    async def _ask(self, asked: dict[str, Any]) -> Any:
        number = next(self._ids)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({"id": number, **asked}).encode() + b"\n")
        told = await answer
        if "error" in told:
            raise RuntimeError(told["error"])
        return told["answer"]

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            told = json.loads(line)
            self._waiting.pop(told["id"]).set_result(told)
