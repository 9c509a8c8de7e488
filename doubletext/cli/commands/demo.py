"""`doubletext demo`: the four strategies, to watch."""

import asyncio

import click

from doubletext.cli.commands.serve import require_server


@click.command()
def demo() -> None:
    """Play the four strategies: a second message arrives while the first is still being answered."""
    require_server()
    from doubletext.cli.play import play

    asyncio.run(play())
