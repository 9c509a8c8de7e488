"""LangGraph: its dev server, through langgraph_sdk."""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError, UnprocessableEntityError

from bench.peers.servers import Server, free_port, listens
from bench.peers.systems.base import Refused, Work

GRAPH = Path(__file__).with_name("langgraph_graph.py")
# What its docs name to keep it from reporting anywhere.
QUIET = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
# What its help names as the default. Without the option it takes one run at a time, of all threads.
JOBS = "10"


class System:
    strategies = frozenset({"enqueue", "reject", "interrupt", "rollback"})

    def __init__(self, folder: Path) -> None:
        config = {"dependencies": ["."], "graphs": {"task": f"{GRAPH}:graph"}}
        (folder / "langgraph.json").write_text(json.dumps(config))
        self._port = free_port()
        command = ("-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--allow-blocking")
        settings = ("--port", str(self._port), "--n-jobs-per-worker", JOBS, "--server-log-level", "WARNING")
        self._server = Server("langgraph", folder, sys.executable, *command, *settings, env=QUIET)

    async def start(self) -> None:
        await self._server.start(lambda: listens(self._port))
        self._client = get_client(url=f"http://127.0.0.1:{self._port}")

    async def kill(self) -> None:
        await self._server.kill()

    async def create(self, work: Work, strategy: str) -> Any:
        thread = thread_id(work.thread)
        given = {"messages": [{"role": "user", "content": str(work.number)}], **work._asdict(), "step": 0}
        try:
            run = await self._client.runs.create(
                thread,
                "task",
                input=given,
                multitask_strategy=strategy,
                if_not_exists="create",
                config={"recursion_limit": 1000},
            )
        except (ConflictError, UnprocessableEntityError) as refusal:
            raise Refused from refusal
        return thread, run["run_id"]

    async def join(self, created: Any) -> None:
        await self._client.runs.join(*created)

    async def inputs(self, thread: str) -> list[int]:
        state = await self._client.threads.get_state(thread_id(thread))
        return [int(message["content"]) for message in state["values"]["messages"]]


def thread_id(name: str) -> str:
    """Its threads are named by UUIDs."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
