"""Restate: its server and a process with the services, through the server's HTTP ingress."""

import sys
from pathlib import Path
from typing import Any

import httpx

from bench.peers.servers import ROOT, Server, free_port, listens
from bench.peers.systems.base import Work

BINARY = ROOT / ".bench" / "restate" / "node_modules" / ".bin" / "restate-server"


class System:
    strategies = frozenset({"enqueue", "interrupt"})

    def __init__(self, folder: Path) -> None:
        self._ingress, self._admin, self._fabric, self._services = (free_port() for _ in range(4))
        env = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self._admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self._fabric}",
            "RESTATE_LISTEN_MODE": "tcp",
        }
        command = (str(BINARY), "--no-logo", "--node-name", "bench", "--base-dir", str(folder / "restate-data"))
        self._server = Server("restate", folder, *command, env=env)
        served = ("-m", "hypercorn", "--bind", f"127.0.0.1:{self._services}")
        self._endpoint = Server("services", folder, sys.executable, *served, "bench.peers.systems.restate_service:app")

    async def start(self) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._ingress}", timeout=60, limits=limits)
        await self._endpoint.start(lambda: listens(self._services))
        await self._server.start(self._registered)

    async def _registered(self) -> bool:
        """Whether the server knows the services; to tell it of what it knows changes nothing."""
        try:
            answer = await self._client.post(
                f"http://127.0.0.1:{self._admin}/deployments", json={"uri": f"http://127.0.0.1:{self._services}"}
            )
        except httpx.TransportError:
            return False
        return answer.is_success

    async def kill(self) -> None:
        await self._server.kill()
        await self._endpoint.kill()

    async def create(self, work: Work, strategy: str) -> Any:
        handler = f"Session/{work.thread}/message" if strategy == "interrupt" else f"Thread/{work.thread}/run"
        answer = await self._client.post(f"/{handler}/send", json=work._asdict())
        answer.raise_for_status()
        return answer.json()["invocationId"]

    async def join(self, created: Any) -> None:
        answer = await self._client.get(f"/restate/invocation/{created}/attach")
        answer.raise_for_status()

    async def inputs(self, thread: str) -> list[int]:
        raise NotImplementedError
