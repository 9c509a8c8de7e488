"""What the client commands print: JSON for a script, text for a person."""

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import click

from doubletext import jsontext, types
from doubletext.cli.render.tables import Listing, fields
from doubletext.cli.render.text import Json, as_json, in_line, message_row
from doubletext.errors import DoubletextError, InvalidField

ROWS_AT_ONCE: Final = 100
"""As many as a page has."""


class Show:
    """Prints what a command got: JSON for a script, or text for a person, styled only on a terminal."""

    def __init__(self, for_script: bool) -> None:
        self.for_script = for_script
        terminal = sys.stdout.isatty()
        self.on_screen = terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        """Return whether stdout is a terminal that can move its cursor."""
        self._width = _width() if terminal else None

    def one(self, resource: Json) -> None:
        """Print one resource: a JSON document, or one line for each field that is not empty."""
        if self.for_script:
            click.echo(jsontext.shown(resource, ascii=True))
        else:
            self._fields(resource)

    def created(self, run: types.CreatedRun) -> None:
        """Print a new run. For a person, print the ids of the runs that it ended."""
        self.one(run if self.for_script else {**run, "superseded": ", ".join(r["run_id"] for r in run["superseded"])})

    def accepted(self, run: types.CreatedRun) -> None:
        """Say to a person who will wait which run it is, and which runs it ended."""
        if not self.for_script:
            self.one({"accepted": run["run_id"], "superseded": ", ".join(r["run_id"] for r in run["superseded"])})
            click.echo()

    def joined(self, joined: types.Joined) -> None:
        """Print a run, and the state that it left."""
        self.one(joined if self.for_script else joined["run"])
        if not self.for_script:
            self._values(joined["state"]["values"])

    def state(self, state: types.State) -> None:
        """Print a state: a JSON document, or the messages as a conversation and every other key as JSON."""
        self.one(state if self.for_script else {**state, "values": None})
        if not self.for_script:
            self._values(state["values"])

    async def all(self, resources: AsyncIterator[Any], columns: tuple[str, ...]) -> None:
        """Print a list as it comes: one JSON object per line, or a table in parts."""
        if self.for_script:
            async for resource in resources:
                self.one(resource)
            return
        table, rows = Listing(columns, styled=self.on_screen), []
        async for resource in resources:
            rows.append([in_line(resource[column]) for column in columns])
            if len(rows) == ROWS_AT_ONCE:
                self._print(table.lines(rows))
                rows.clear()
        if lines := table.lines(rows):
            self._print(lines)

    def error(self, error: DoubletextError) -> None:
        """Print an error on stderr: one line, or one JSON object."""
        name = error.reason or error.code.name
        if not self.for_script:
            click.echo(f"error: {in_line(error.message)} ({in_line(name)})", err=True)
            return
        shown: dict[str, Any] = {"code": error.code.name, "reason": error.reason, "message": error.message}
        shown |= {"metadata": error.metadata, "retry_after": error.retry_after}
        if isinstance(error, InvalidField):
            shown["violations"] = [{"field": field, "description": text} for field, text in error.violations]
        click.echo(json.dumps({"error": shown}, sort_keys=True), err=True)

    def _values(self, values: Json) -> None:
        messages = values.get("messages")
        conversation = messages if isinstance(messages, list) else []
        rest = {key: value for key, value in values.items() if key != "messages" or value is not conversation}
        for rows in (
            [message_row(message) for message in conversation],
            [(in_line(key), as_json(value)) for key, value in rest.items()],
        ):
            if rows:
                click.echo()
                self._print(fields(rows, self._width, styled=self.on_screen))

    def _fields(self, resource: Json) -> None:
        rows = [(key, text) for key, value in resource.items() if value is not False and (text := in_line(value))]
        if rows:
            self._print(fields(rows, self._width, styled=self.on_screen))

    def _print(self, lines: list[str]) -> None:
        click.echo("\n".join(lines))


def _width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns
