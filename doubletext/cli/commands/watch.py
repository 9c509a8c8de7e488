"""`watch`: a thread's events as they come. On a terminal as lanes of its runs, elsewhere as lines or as JSON."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from doubletext import Client, DoubletextError, ThreadNotFound, types
from doubletext.cli.command import Exit
from doubletext.cli.render.events import events_of, line
from doubletext.cli.render.lanes import Lanes
from doubletext.cli.render.tables import Show, in_line

PAUSE: Final = 0.05
"""Seconds between two drawings: a busy run makes more events than anybody can see."""


async def observe(client: Client, show: Show, thread_id: str, after: int | None) -> Exit:
    """Print the thread's events until it is deleted. Raises ThreadNotFound when there is none to begin with."""
    await client.threads.get(thread_id)
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    events = events_of(client, thread_id, after)
    try:
        if show.for_script or not console.is_terminal or console.is_dumb_terminal:
            async for event in events:
                show.one(event) if show.for_script else click.echo(line(event))
        else:
            await Display(client, console, thread_id).show(events)
    except ThreadNotFound:
        click.echo(f"thread {in_line(thread_id)} was deleted", err=True)
    return Exit.DONE


class Display:
    """Lanes on the terminal's other screen, which leaves what stood there untouched, whatever size it is changed to."""

    def __init__(self, client: Client, console: Console, thread_id: str) -> None:
        self._client = client
        self._console = console
        self._thread_id = thread_id
        self._lanes = Lanes(thread_id)
        self._changed = asyncio.Event()

    async def show(self, events: AsyncIterator[types.Event]) -> None:
        """Draw what comes; at the end, leave the last drawing on the terminal, and say where to go on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        try:
            with Live(console=self._console, screen=True, auto_refresh=False) as live:
                drawing = asyncio.create_task(self._draw(live))
                try:
                    async for event in events:
                        if drawing.done():  # of an error
                            await drawing
                        self._lanes.on_commit(event)
                        self._changed.set()
                finally:
                    drawing.cancel()
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            self._console.print(self._lanes.table(self._console.height))
            click.echo(f"to go on from here: --after {self._lanes.last_event}", err=True)

    async def _draw(self, live: Live) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            live.update(self._lanes.table(self._console.height), refresh=True)
            await self._ask_for_strategies()
            await asyncio.sleep(PAUSE)

    async def _ask_for_strategies(self) -> None:
        """Learn what events do not tell, of the runs that are seen. Of those that are gone, nobody knows it."""
        for lane in self._lanes.visible(self._console.height):
            if lane.strategy is None:
                try:
                    lane.strategy = (await self._client.runs.get(self._thread_id, lane.run_id))["multitask_strategy"]
                except DoubletextError:
                    lane.strategy = ""
                self._changed.set()
