"""The command line: a table of its commands, each of which is imported when it is called."""

import importlib
from collections import UserDict
from typing import Any, Final

import click

from doubletext.cli.exit_codes import Exit
from doubletext.cli.stdio import prepare

MODULES: Final = {
    "thread": "doubletext.cli.commands.thread",
    "run": "doubletext.cli.commands.run",
    "queue": "doubletext.cli.commands.queue",
    "watch": "doubletext.cli.commands.watch",
    "worker": "doubletext.cli.commands.worker",
    "demo": "doubletext.cli.commands.demo",
    "serve": "doubletext.cli.commands.serve",
    "backup": "doubletext.cli.commands.serve",
    "check": "doubletext.cli.commands.serve",
}
"""The module of each command. It imports what a command needs inside the command's function, so that `--help` and the
other commands do not wait for it."""


class Commands(UserDict[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.data[name]), name)


class Cli(click.Group):
    """The group of all commands. Ctrl-C ends it with the documented exit code; click itself would exit with 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        prepare()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(Exit.STOPPED)


@click.group(
    cls=Cli,
    commands=Commands(MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="doubletext")
def main() -> None:
    """What happens when a second message arrives while the first is still being answered."""
