"""Play the four strategies for `demo`, with a server of its own, over gRPC and on a real file."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from doubletext.client import Client
from doubletext.errors import RunRolledBack, ThreadBusy

FIRST, SECOND = "what's the weather in sf?", "what's the weather in nyc?"
SLOWLY = 5  # seconds that the first run would sleep before its answer, so that the second message finds it at work


async def play() -> None:
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="doubletext-demo-") as folder:
        database = Path(folder) / "demo.db"
        async with _server(database) as address, Client(address) as client:
            console.print(f"[dim]a server of its own: {address}, database {database}[/dim]")
            play = Play(console, client)
            await play.reject()
            await play.interrupt()
            await play.rollback()
            await play.enqueue()
    console.print("\nAll four did what they promise.")


class Play:
    def __init__(self, console: Console, client: Client) -> None:
        self.console = console
        self.client = client

    async def reject(self) -> None:
        thread_id, first = await self.scene("reject", "refuse the second message; the first run goes on", sleep=1)
        try:
            await self.say(thread_id, SECOND, "reject")
        except ThreadBusy as busy:
            self.console.print(f"  [yellow]{busy.code.name} {busy.reason}[/yellow] {escape(str(busy))}")
            _expect(busy.active_run_id == first)
        else:
            _expect(False)
        await self.join(thread_id, first, "success")
        await self.show(thread_id, [FIRST])

    async def interrupt(self) -> None:
        thread_id, first = await self.scene("interrupt", "stop the first run, keep what it did, go on with the second")
        second = await self.say(thread_id, SECOND, "interrupt")
        await self.join(thread_id, second, "success")
        await self.join(thread_id, first, "interrupted")
        await self.show(thread_id, [FIRST, SECOND])

    async def rollback(self) -> None:
        thread_id, first = await self.scene("rollback", "stop the first run, and undo all that it did")
        second = await self.say(thread_id, SECOND, "rollback")
        await self.join(thread_id, second, "success")
        try:
            await self.client.runs.get(thread_id, first)
        except RunRolledBack as gone:
            self.console.print(f"  [yellow]{gone.code.name} {gone.reason}[/yellow] {escape(str(gone))}")
        else:
            _expect(False)
        await self.show(thread_id, [SECOND])

    async def enqueue(self) -> None:
        thread_id, first = await self.scene("enqueue", "let the second message wait its turn", sleep=1)
        second = await self.say(thread_id, SECOND, "enqueue")
        await self.join(thread_id, first, "success")
        await self.join(thread_id, second, "success")
        await self.show(thread_id, [FIRST, SECOND])

    async def scene(self, strategy: str, meaning: str, sleep: float = SLOWLY) -> tuple[str, str]:
        """Create a thread with a running run. Return the ids of both."""
        self.console.rule(f"[bold]{strategy}[/bold]: {meaning}", align="left")
        thread_id = (await self.client.threads.create())["thread_id"]
        first = await self.say(thread_id, FIRST, None, sleep=sleep)
        running = await self.client.runs.join(thread_id, first, wait=0.3)
        _expect(running["run"]["status"] == "running")
        return thread_id, first

    async def say(self, thread_id: str, text: str, strategy: Any, **more: float) -> str:
        note = f" [dim]multitask_strategy={strategy}[/dim]" if strategy else ""
        self.console.print(f"  [bold]> {escape(text)}[/bold]{note}")
        given = {"messages": [{"role": "user", "content": text}], **more}
        run = await self.client.runs.create(thread_id, "agent", input=given, multitask_strategy=strategy)
        return run["run_id"]

    async def join(self, thread_id: str, run_id: str, status: str) -> None:
        joined = await self.client.runs.join(thread_id, run_id)
        self.console.print(f"  run {run_id} ended [green]{joined['run']['status'].upper()}[/green]")
        _expect(joined["run"]["status"] == status)

    async def show(self, thread_id: str, questions: list[str]) -> None:
        """Return the thread's state. It must contain these questions and no others."""
        state = await self.client.threads.get_state(thread_id)
        self.console.print(f"  the state after step {state['step']}:")
        messages = state["values"]["messages"]
        for message in messages:
            calls = "".join(f"{call['name']}({call['args']['query']})" for call in message.get("tool_calls", ()))
            self.console.print(f"    [cyan]{message['role']:>9}[/cyan]  {escape(message['content'] or calls)}")
        _expect([message["content"] for message in messages if message["role"] == "user"] == questions)


def _expect(holds: bool) -> None:
    if not holds:
        raise click.ClickException("the service did not do what this strategy promises; please report it")


@asynccontextmanager
async def _server(database: Path) -> AsyncIterator[str]:
    """Start `doubletext serve` as a process of its own. Give its address."""
    # -P: no server.py or json.py in the current folder takes the place of a module.
    python = (sys.executable, "-P", "-m", "doubletext")
    command = (*python, "serve", "--listen", "127.0.0.1:0", "--db", str(database))
    log = database.with_suffix(".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode().strip()
        if not line.startswith("listening on "):
            raise click.ClickException(f"the server did not start:\n{log.read_text()}")
        yield line.removeprefix("listening on ")
    finally:
        process.terminate()
        await process.wait()
