"""The command line: `doubletext serve`, `doubletext demo`, and the client verbs."""

import asyncio
import os
import signal
import sys

import click

from server.app import App, CannotListen, Config
from server.demo import demo
from server.graphs import CannotLoad, load
from server.logs import configure_logs
from server.store.schema import CannotOpen
from server.verbs import run, thread
from statemachine.status import Strategy


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="doubletext")
def main() -> None:
    """What happens when a second message arrives while the first is still being answered."""


main.add_command(thread)
main.add_command(run)
main.add_command(demo)


@main.command()
@click.option("--listen", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="Port 0 picks one.")
@click.option("--db", required=True, metavar="PATH", help="The database file; made if it is not there.")
@click.option(
    "--graphs",
    multiple=True,
    metavar="MODULE_OR_FILE:NAME",
    help="A graph to serve, beside agent and echo; repeatable.",
)
@click.option(
    "--default-strategy",
    type=click.Choice([strategy.value for strategy in Strategy]),
    default=Strategy.ENQUEUE.value,
    show_default=True,
    help="For calls and threads that name none.",
)
def serve(listen: str, db: str, graphs: tuple[str, ...], default_strategy: str) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain: hand back what runs and exit 0.

    Prints `listening on HOST:PORT` once it answers. Logs go to stderr.
    """
    configure_logs()
    try:
        config = Config(listen, db, load(graphs), Strategy(default_strategy))
        runner = asyncio.Runner()
        left_behind = runner.run(_serve(config))
    except (CannotLoad, CannotListen, CannotOpen) as error:
        raise click.ClickException(str(error)) from None
    if left_behind:
        # Graphs that swallow their cancellation would keep the interpreter waiting for ever; all else is closed.
        sys.stdout.flush()
        os._exit(0)
    runner.close()


async def _serve(config: Config) -> bool:
    """Serve until a signal. Returns whether graphs are left that do not stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = await App.start(config)
    print(f"listening on {app.address}", flush=True)
    await stop.wait()
    return await app.stop()
