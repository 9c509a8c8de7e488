"""doubletext: `doubletext serve` with the task as a graph in its process, through its Python client."""

import sys
from pathlib import Path
from typing import Any

from bench.peers.servers import Server, free_port, listens
from bench.peers.systems.base import Refused, Work
from doubletext import Client
from doubletext.errors import ThreadBusy

GRAPH = Path(__file__).with_name("doubletext_graph.py")


class System:
    strategies = frozenset({"enqueue", "reject", "interrupt", "rollback"})

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        address = f"127.0.0.1:{self._port}"
        command = ("-m", "doubletext", "serve", "--listen", address, "--db", str(folder / "doubletext.db"))
        self._server = Server("doubletext", folder, sys.executable, *command, "--graphs", f"{GRAPH}:task")
        self._address = address

    async def start(self) -> None:
        await self._server.start(lambda: listens(self._port))
        self._client = Client(self._address)

    async def kill(self) -> None:
        await self._server.kill()

    async def create(self, work: Work, strategy: str) -> Any:
        given = {
            "messages": [{"role": "user", "content": str(work.number)}],
            "number": work.number,
            "steps": work.steps,
            "seconds": work.seconds,
        }
        try:
            run = await self._client.runs.create(
                work.thread,
                "task",
                input=given,
                multitask_strategy=strategy,  # type: ignore[arg-type]
                if_thread_not_exists="create",
            )
        except ThreadBusy as busy:
            raise Refused from busy
        return work.thread, run["run_id"]

    async def join(self, created: Any) -> None:
        thread, run_id = created
        await self._client.runs.join(thread, run_id)

    async def inputs(self, thread: str) -> list[int]:
        state = await self._client.threads.get_state(thread)
        return [int(message["content"]) for message in state["values"]["messages"]]
