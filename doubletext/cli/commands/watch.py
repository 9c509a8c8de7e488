"""`doubletext watch`: a thread's events as they come. On a terminal as lanes of its runs, else as lines or as JSON."""

from typing import TYPE_CHECKING

import click

from doubletext.cli.command import client_command
from doubletext.cli.exit_codes import Exit

if TYPE_CHECKING:
    from doubletext.cli.render.show import Show
    from doubletext.client import Client


@client_command(None, "watch")
@click.argument("thread_id", metavar="THREAD")
@click.option("--after", type=click.IntRange(0), metavar="SEQUENCE", help="Only what came after this event.")
async def watch(client: "Client", show: "Show", thread_id: str, after: int | None) -> Exit:
    """Watch THREAD: its runs with their steps and outputs, live on a terminal; elsewhere a line an event.

    Ends when the thread is deleted.
    """
    from doubletext.cli.render.events import events_of, line
    from doubletext.cli.render.text import in_line
    from doubletext.errors import ThreadNotFound

    await client.threads.get(thread_id)  # one that is not there to begin with is an error
    events = events_of(client, thread_id, after)
    try:
        if show.on_screen and not show.for_script:
            from doubletext.cli.render.live import Display

            await Display(client, thread_id).show(events)
        else:
            async for event in events:
                show.one(event) if show.for_script else click.echo(line(event))
    except ThreadNotFound:
        click.echo(f"thread {in_line(thread_id)} was deleted", err=True)
    return Exit.DONE
