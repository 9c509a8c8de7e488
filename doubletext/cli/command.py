"""What goes around a client verb: its exit codes, its common options, the types of its arguments.

`verb` makes an async function that calls the client, and shows what came, a command.
"""

import asyncio
import functools
import json
import math
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import grpc

from doubletext import Client, DoubletextError, types
from doubletext.cli.render.tables import Show
from doubletext.convert import struct

Json: TypeAlias = Mapping[str, Any]


class Exit(IntEnum):
    """The exit codes, here and nowhere else."""

    DONE = 0
    ENDED_OTHERWISE = 1
    INVALID = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    NOT_FINAL = 6
    INTERNAL = 70
    STOPPED = 130


MEANING: Final = {
    Exit.DONE: "done",
    Exit.ENDED_OTHERWISE: "the run that was joined ended other than in success",
    Exit.INVALID: "wrong usage, or an argument that the server refused",
    Exit.NOT_FOUND: "no such thing, or a run that was rolled back before",
    Exit.REFUSED: "busy, taken, still in flight, or the queue is full",
    Exit.UNAVAILABLE: "the server is unavailable, or a deadline passed",
    Exit.NOT_FINAL: "--wait passed and the run is not final yet",
    Exit.INTERNAL: "an error inside the server, or one it should not give",
    Exit.STOPPED: "stopped by Ctrl-C",
}
EXIT_OF: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: Exit.INVALID,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Exit.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.REFUSED,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
}
EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code.value:<4} {meaning}" for code, meaning in MEANING.items())


def ended(run: types.Run) -> Exit:
    """What a joined run's status means to whoever waited for it."""
    if run["status"] in ("pending", "running"):
        return Exit.NOT_FINAL
    return Exit.DONE if run["status"] == "success" else Exit.ENDED_OTHERWISE


class JsonObject(click.ParamType[Json]):
    """A JSON object: in the argument itself, in a file (`@file`), or on stdin (`-`)."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        try:
            parsed = json.loads(self._text(value))
            if not isinstance(parsed, dict):
                raise ValueError(f"it is a {type(parsed).__name__}")
            struct(parsed)
        except (OSError, ValueError, RecursionError) as error:
            self.fail(f"not a JSON object: {error}", param, ctx)
        return parsed

    def _text(self, value: str) -> str:
        if value == "-":
            return sys.stdin.read()
        return Path(value[1:]).read_text("utf-8") if value.startswith("@") else value


class Pair(click.ParamType[tuple[str, Any]]):
    """KEY=JSON."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        key, sign, text = value.partition("=")
        try:
            if not sign:
                raise ValueError("it has no '='")
            struct(pair := {key: json.loads(text)})
        except (ValueError, RecursionError) as error:
            self.fail(f"{value} is not KEY=JSON (a text is KEY='\"text\"'): {error}", param, ctx)
        return key, pair[key]


class Seconds(click.ParamType[float]):
    """A number of seconds, 0 or more; fractions count."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = click.FLOAT.convert(value, param, ctx)
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"{value} is not a number of seconds, 0 or more", param, ctx)
        return number


class Verbs(click.Group):
    """The group of all commands, which ends by Ctrl-C as the exit codes say; click itself would make it 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(Exit.STOPPED)


Verb: TypeAlias = Callable[..., Awaitable[Exit | None]]


def verb(group: click.Group | None, name: str) -> Callable[[Verb], click.Command]:
    """Make an async function `(client, show, **arguments)` a command of the group, or one by itself.

    Connects, runs it, prints the error if there is one, and exits as the function or the error says.
    """

    async def outcome(function: Verb, server: str, show: Show, arguments: dict[str, Any]) -> Exit:
        try:
            with _woken_by_signals():
                async with Client(server) as client:
                    return await function(client, show, **arguments) or Exit.DONE
        except DoubletextError as error:
            show.error(error)
            return EXIT_OF.get(error.code, Exit.INTERNAL)
        except ValueError as error:  # an argument that has no form on the wire
            show.error(DoubletextError(str(error), code=grpc.StatusCode.INVALID_ARGUMENT))
            return Exit.INVALID

    def decorate(function: Verb) -> click.Command:
        @(group.command(name) if group is not None else click.command(name, epilog=EPILOG))
        @click.option(
            "--server",
            default="127.0.0.1:50051",
            envvar="DOUBLETEXT_SERVER",
            show_default=True,
            show_envvar=True,
            metavar="HOST:PORT",
            help="Where the server listens.",
        )
        @click.option(
            "--json", "as_json", is_flag=True, help="Print JSON: one document, or one object a line for lists."
        )
        @functools.wraps(function)
        def command(server: str, as_json: bool, **arguments: Any) -> None:
            code = asyncio.run(outcome(function, server, Show(as_json), arguments))
            click.get_current_context().exit(code)

        return command

    return decorate


@contextmanager
def _woken_by_signals() -> Iterator[None]:
    """Let a signal wake the event loop, whatever the moment. Without it a Ctrl-C that comes just before the loop falls
    asleep is noticed only when something else wakes it, since nothing interrupts the sleep any more
    (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd).
    """
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        loop.add_reader(here, here.recv, 4096)
        try:
            yield
        finally:
            loop.remove_reader(here)
            signal.set_wakeup_fd(before)
