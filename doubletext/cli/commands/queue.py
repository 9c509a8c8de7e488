"""`doubletext queue THREAD`: the runs that wait, in the order in which they will start."""

from typing import TYPE_CHECKING, Final

import click

from doubletext.cli.command import client_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from doubletext import types
    from doubletext.cli.render.show import Show
    from doubletext.client import Client

COLUMNS: Final = ("queue_position", "run_id", "assistant_id", "multitask_strategy", "due_time", "revision", "merged")


@client_command(None, "queue")
@click.argument("thread_id", metavar="THREAD")
async def queue(client: "Client", show: "Show", thread_id: str) -> None:
    """List the runs that wait on THREAD, in the order in which they will start.

    Change it with `run edit`, `run move` and `run cancel`; stop it with `thread hold`.
    """
    runs = [run async for run in client.runs.list(thread_id, statuses=["pending"], page_size=1000)]
    await show.all(_each(sorted(runs, key=lambda run: run["queue_position"])), COLUMNS)


async def _each(runs: "list[types.Run]") -> "AsyncIterator[types.Run]":
    for run in runs:
        yield run
