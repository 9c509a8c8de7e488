"""A server whose graphs talk, hold on, fail, and use text that a terminal or an XML file would trip over."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from doubletext import Client, types
from tests.cli.command_line import Server, Verbs, serving

GRAPHS: Final = r"""
import asyncio
from doubletext import graph

@graph
async def talks(ctx):
    await ctx.emit("progress", {"read": 1})
    for text in ("It", " is ", "\x1b[31msunny", ".\u202e"):
        await ctx.emit("tokens", {"text": text})
    yield {"messages": [{"role": "assistant", "content": "It is sunny.\x1b[31m"}], "done": True}
    if ctx.input.get("hold"):
        await ctx.emit("progress", {"holding": "on"})
        for text in ctx.input.get("then", []):
            await ctx.emit("tokens", {"text": text})
        await asyncio.Event().wait()

@graph
async def fails(ctx):
    yield {"so": "far"}
    raise type("No$such$<weather>\x1b[31m\uffff", (Exception,), {})("none in \x1b[31msf")
"""

LogOf: TypeAlias = Callable[..., list[types.Event]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("people")
    (made / "graphs.py").write_text(GRAPHS)
    return made


@pytest.fixture(scope="module")
def options(folder: Path) -> list[str]:
    return [text for name in ("talks", "fails") for text in ("--graphs", f"{folder / 'graphs.py'}:{name}")]


@pytest.fixture(scope="module")
def server(folder: Path, options: list[str]) -> Iterator[Server]:
    with serving(folder / "people.db", *options) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def held(verbs: Verbs, thread_id: str) -> str:
    """A run on the thread that has said all that it has to say, and holds on."""
    created: dict[str, Any] = verbs.json("run", "create", thread_id, "talks", "--input", '{"hold": true}')

    async def holds(client: Client) -> None:
        async for event in client.runs.watch(thread_id, created["run_id"]):
            if event.get("output", {}).get("data") == {"holding": "on"}:
                return

    calling(verbs.address, holds)
    return str(created["run_id"])


@pytest.fixture
def log_of(server: Server) -> LogOf:
    """The thread's events up to the first of which `last` holds, as the client reads them."""

    def read(thread_id: str, last: Callable[[types.Event], bool]) -> list[types.Event]:
        async def events(client: Client) -> list[types.Event]:
            found = []
            async for event in client.threads.watch(thread_id):
                found.append(event)
                if last(event):
                    break
            return found

        made: list[types.Event] = calling(server.address, events)
        return made

    return read


def calling(address: str, function: Callable[[Client], Any]) -> Any:
    async def call() -> Any:
        async with Client(address) as client:
            return await function(client)

    return asyncio.run(call())


def ends(run_id: str) -> Callable[[types.Event], bool]:
    """Whether an event ends the run."""

    def is_end(event: types.Event) -> bool:
        to = event["run_changed"]["to"] if "run_changed" in event else ""
        return event["run_id"] == run_id and to not in ("", "pending", "running")

    return is_end
