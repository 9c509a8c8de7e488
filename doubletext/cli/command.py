"""Make a command of an async function that calls the client and shows the result. Add the options of all commands."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import click

from doubletext.cli.exit_codes import EPILOG, Exit

Function: TypeAlias = Callable[..., Awaitable[Exit | None]]


def client_command(group: click.Group | None, name: str) -> Callable[[Function], click.Command]:
    """Make an async function `(client, show, **arguments)` a command of the group, or one by itself.

    The command connects, runs the function, prints the error if there is one, and exits as the function or the error
    says.
    """

    def decorate(function: Function) -> click.Command:
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
            from doubletext.cli.calling import call  # imports asyncio and gRPC, which `--help` does not need

            click.get_current_context().exit(call(function, server, as_json, arguments))

        return command

    return decorate
