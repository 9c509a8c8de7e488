"""What the client verbs print: JSON for a script, text for a person.

What is printed was written by others: no control character and no rich markup of it reaches the terminal as such.
"""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from shutil import get_terminal_size
from typing import Any, Final, TypeAlias

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from doubletext import DoubletextError, InvalidField, types

Json: TypeAlias = Mapping[str, Any]

# C0 and C1 controls, which a terminal obeys; line separators; what turns the direction of text around; lone surrogates.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_LINE: Final = re.compile(f"{_UNSAFE.pattern}|[\t\n]")
_UNWRAPPED: Final = 100_000


def printable(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    """Return text with every unsafe character spelled out: ESC becomes `\\x1b`."""
    return unsafe.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def in_line(value: object) -> str:
    """Return a value as one line that is safe to print: text as it is, nothing as nothing, the rest as JSON."""
    if value is None or value == {}:
        return ""
    return printable(value if isinstance(value, str) else as_json(value), _UNSAFE_IN_LINE)


def as_json(value: object) -> str:
    """Return a value as one line of JSON for a person. Sorted: the wire does not keep the order of an object's keys."""
    return printable(json.dumps(value, ensure_ascii=False, sort_keys=True), _UNSAFE_IN_LINE)


class Show:
    """Prints what a verb got: JSON for a script, or text for a person, styled only on a terminal."""

    def __init__(self, for_script: bool) -> None:
        self.for_script = for_script
        terminal = sys.stdout.isatty()
        self._console = Console(force_terminal=terminal, width=_UNWRAPPED, highlight=False)
        # Text is wrapped on a terminal only, and rows of a listing nowhere: an id stays whole, to be copied.
        self._width = get_terminal_size().columns if terminal else _UNWRAPPED

    def one(self, resource: Json) -> None:
        """Print one resource: a JSON document, or its fields that hold something, a line each."""
        if self.for_script:
            click.echo(json.dumps(resource, sort_keys=True))
        else:
            self._fields((key, in_line(value)) for key, value in resource.items())

    def created(self, run: types.CreatedRun) -> None:
        """Print a new run; a person gets the ids of the runs that it ended."""
        self.one(run if self.for_script else {**run, "superseded": ", ".join(r["run_id"] for r in run["superseded"])})

    def accepted(self, run: types.CreatedRun) -> None:
        """Tell a person, who is going to wait, which run it is for and what it ended."""
        if not self.for_script:
            self.one({"accepted": run["run_id"], "superseded": ", ".join(r["run_id"] for r in run["superseded"])})
            click.echo()

    def joined(self, joined: types.Joined) -> None:
        """Print a run, and the state as it left it."""
        self.one(joined if self.for_script else joined["run"])
        if not self.for_script:
            self._values(joined["state"]["values"])

    def state(self, state: types.State) -> None:
        """Print a state: a JSON document, or the messages as a conversation and every other key as JSON."""
        self.one(state if self.for_script else {**state, "values": None})
        if not self.for_script:
            self._values(state["values"])

    async def all(self, resources: AsyncIterator[Any], columns: tuple[str, ...]) -> None:
        """Print a listing: a JSON object a line as they come, or one table."""
        if self.for_script:
            async for resource in resources:
                self.one(resource)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column)
        async for resource in resources:
            table.add_row(*(Text(in_line(resource[column])) for column in columns))
        self._print(table)

    def error(self, error: DoubletextError) -> None:
        """Print an error on stderr: one line, or one JSON object."""
        name = error.reason or error.code.name
        if not self.for_script:
            click.echo(f"error: {in_line(error.message)} ({in_line(name)})", err=True)
            return
        told: dict[str, Any] = {"code": error.code.name, "reason": error.reason, "message": error.message}
        told |= {"metadata": error.metadata, "retry_after": error.retry_after}
        if isinstance(error, InvalidField):
            told["violations"] = [{"field": field, "description": text} for field, text in error.violations]
        click.echo(json.dumps({"error": told}, sort_keys=True), err=True)

    def _values(self, values: Json) -> None:
        messages = values.get("messages")
        conversation = messages if isinstance(messages, list) else []
        rest = {key: value for key, value in sorted(values.items()) if key != "messages" or value is not conversation}
        self._rows((message_row(message) for message in conversation), apart=True)
        self._rows(((Text(in_line(key), "bold"), Text(as_json(value))) for key, value in rest.items()), apart=True)

    def _fields(self, fields: Iterable[tuple[str, str]]) -> None:
        self._rows((Text(key, "bold"), Text(text)) for key, text in fields if text)

    def _rows(self, rows: Iterable[tuple[Text, Text]], *, apart: bool = False) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for row in rows:
            grid.add_row(*row)
        if grid.row_count:
            if apart:
                click.echo()
            self._print(grid, self._width)

    def _print(self, renderable: RenderableType, width: int | None = None) -> None:
        with self._console.capture() as capture:
            self._console.print(renderable, width=width)
        click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def message_row(message: object) -> tuple[Text, Text]:
    """Return who says what in one message of a conversation; a message of another form comes as JSON."""
    if not isinstance(message, dict):
        return Text("?", "bold"), Text(as_json(message))
    content = message.get("content", "")
    said = printable(content) if isinstance(content, str) else in_line(content)
    more = {key: value for key, value in sorted(message.items()) if key not in ("role", "type", "content", "id")}
    lines = [said] if said else []
    lines += [f"{in_line(key)}: {in_line(value)}" for key, value in more.items() if value not in (None, "", [], {})]
    return Text(in_line(message.get("role") or message.get("type") or "?"), "bold"), Text("\n".join(lines))
