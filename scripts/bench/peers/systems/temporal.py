"""Temporal: its dev server on a file and a worker, through its Python client."""

import sys
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from bench.peers.servers import ROOT, Server, free_port
from bench.peers.systems.base import Refused, Work

BINARY = ROOT / ".bench" / "temporal" / "go" / "temporal"
QUEUE = "bench"
POLICY = {
    "reject": WorkflowIDConflictPolicy.FAIL,
    "interrupt": WorkflowIDConflictPolicy.TERMINATE_EXISTING,
}


class System:
    strategies = frozenset({"enqueue", "reject", "interrupt"})

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._address = f"127.0.0.1:{port}"
        command = (str(BINARY), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port))
        self._server = Server("temporal", folder, *command, "--db-filename", str(folder / "temporal.db"))
        worker = (sys.executable, "-m", "bench.peers.systems.temporal_worker", self._address)
        self._worker = Server("worker", folder, *worker)

    async def start(self) -> None:
        await self._server.start(self._answers)
        await self._worker.start(self._polls)

    async def _answers(self) -> bool:
        try:
            self._client = await Client.connect(self._address)
            return await self._client.service_client.check_health()
        except (RPCError, RuntimeError):
            return False

    async def _polls(self) -> bool:
        return True  # what is created before the worker polls waits for it

    async def kill(self) -> None:
        await self._server.kill()
        await self._worker.kill()

    async def create(self, work: Work, strategy: str) -> Any:
        given = work._asdict()
        if strategy == "enqueue":
            signal = {"start_signal": "message", "start_signal_args": [given]}
            return await self._client.start_workflow("Conversation", id=work.thread, task_queue=QUEUE, **signal)
        try:
            return await self._client.start_workflow(
                "Turn", given, id=work.thread, task_queue=QUEUE, id_conflict_policy=POLICY[strategy]
            )
        except WorkflowAlreadyStartedError as taken:
            raise Refused from taken

    async def join(self, created: Any) -> None:
        await created.result()

    async def inputs(self, thread: str) -> list[int]:
        raise NotImplementedError
