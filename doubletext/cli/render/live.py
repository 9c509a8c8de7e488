"""`watch` on a terminal: the lanes of a thread's runs, drawn anew as events come."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from doubletext import types
from doubletext.cli.render.lanes import Lanes
from doubletext.client import Client
from doubletext.errors import DoubletextError

PAUSE: Final = 0.05
"""Seconds between two drawings: a busy run makes more events than anybody can see."""


class Display:
    """Lanes on the terminal's alternate screen.

    The normal screen stays as it was, also when the terminal is resized.
    """

    def __init__(self, client: Client, thread_id: str) -> None:
        self._client = client
        self._console = Console(force_terminal=True, highlight=False)
        self._thread_id = thread_id
        self._lanes = Lanes(thread_id)
        self._changed = asyncio.Event()

    async def show(self, events: AsyncIterator[types.Event]) -> None:
        """Draw each event. At the end, leave the last drawing on the normal screen, and say where to go on."""
        try:
            with (
                _at_each_resizing(self._changed.set),
                Live(console=self._console, screen=True, auto_refresh=False) as live,
            ):
                drawing = asyncio.create_task(self._draw(live))
                try:
                    async for event in events:
                        if drawing.done():  # of an error
                            await drawing
                        self._lanes.on_event(event)
                        self._changed.set()
                finally:
                    drawing.cancel()
        finally:
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
        """Ask the service for the strategies of the visible runs, which events do not contain.

        A deleted run has none.
        """
        for lane in self._lanes.visible(self._console.height):
            if lane.strategy is None:
                try:
                    lane.strategy = (await self._client.runs.get(self._thread_id, lane.run_id))["multitask_strategy"]
                except DoubletextError:
                    lane.strategy = ""
                self._changed.set()


@contextmanager
def _at_each_resizing(redraw: Callable[[], None]) -> Iterator[None]:
    if sys.platform == "win32":  # has no such signal: the next event draws anew
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, redraw)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
