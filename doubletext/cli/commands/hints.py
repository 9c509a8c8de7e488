"""What a person is told who waits for a run that nobody executes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

from doubletext.cli.render.text import in_line
from doubletext.client import Client
from doubletext.errors import DoubletextError

PATIENCE: Final = 5.0


@contextmanager
def hinted(client: Client, thread_id: str | None, run_id: str) -> Iterator[None]:
    """While this is open, say after some seconds on stderr if nobody is there to execute the run."""
    hinting = asyncio.create_task(_hint(client, thread_id, run_id))
    try:
        yield
    finally:
        hinting.cancel()


async def _hint(client: Client, thread_id: str | None, run_id: str) -> None:
    await asyncio.sleep(PATIENCE)
    with suppress(DoubletextError):
        found = await client.runs.get(thread_id, run_id)
        if found["unserved"]:
            graph = (await client.assistants.get(found["assistant_id"]))["graph"]
            told = f"nobody executes the graph {graph} at the moment; the run waits until a worker for it is started"
            click.echo(in_line(told), err=True)
