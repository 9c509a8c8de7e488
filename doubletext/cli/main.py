"""The command line: `doubletext serve`, `worker`, `demo`, `backup`, `check`, and the client verbs."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable

import click
import uvloop

from doubletext.cli.command import Verbs
from doubletext.cli.commands.demo import demo
from doubletext.cli.commands.upkeep import backup, check
from doubletext.cli.commands.verbs import run, thread, watch
from doubletext.cli.logs import configure_logs
from doubletext.samples import BUILT_IN, CannotLoad, load
from doubletext.worker import Worker
from doubletext_server.address import CannotListen
from doubletext_server.app import DEFAULT_LEASE, App, Config
from doubletext_server.engine.retention import DAY, Keep
from doubletext_server.store.sqlite.schema import CannotOpen
from doubletext_server.usecases.limits import LONGEST_QUEUE
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS
from doubletext_statemachine.words import Strategy


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="doubletext")
def main() -> None:
    """What happens when a second message arrives while the first is still being answered."""


main.add_command(thread)
main.add_command(run)
main.add_command(watch)
main.add_command(demo)
main.add_command(backup)
main.add_command(check)


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
@click.option(
    "--max-queued-runs",
    type=click.IntRange(1, LONGEST_QUEUE),
    default=DEFAULT_MAX_QUEUED_RUNS,
    show_default=True,
    help="How many runs of a thread may be pending at once; a thread may have its own limit.",
)
@click.option(
    "--lease",
    type=click.FloatRange(1, 3600),
    default=DEFAULT_LEASE / 1_000_000,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker may be silent before its run is given to another.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(0, 36_500, min_open=True),
    default=7,
    show_default=True,
    help="How long events, tombstones and request ids are kept.",
)
@click.option(
    "--keep-per-thread",
    type=click.IntRange(100, 1_000_000_000),
    default=10_000,
    show_default=True,
    help="How many of each are kept on a thread.",
)
@click.option(
    "--thread-ttl-days",
    type=click.FloatRange(0, 36_500, min_open=True),
    help="Delete threads on which nothing has happened for so long.  [default: never]",
)
@click.option("--metrics", metavar="HOST:PORT", help="Where Prometheus may ask; port 0 picks one.  [default: nowhere]")
def serve(
    listen: str,
    db: str,
    graphs: tuple[str, ...],
    default_strategy: str,
    max_queued_runs: int,
    lease: float,
    keep_days: float,
    keep_per_thread: int,
    thread_ttl_days: float | None,
    metrics: str | None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain: hand back what runs and exit 0.

    Prints `listening on HOST:PORT` once it answers. Logs go to stderr.
    """
    configure_logs()
    try:
        known = {**BUILT_IN, **load(graphs)}  # a named one may take a built-in one's place
        keep = Keep(int(keep_days * DAY), keep_per_thread, int(thread_ttl_days * DAY) if thread_ttl_days else None)
        strategy, lease_time = Strategy(default_strategy), int(lease * 1_000_000)
        config = Config(listen, db, known, strategy, max_queued_runs, lease_time, keep, metrics=metrics)
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        left_behind = runner.run(_serve(config))
    except (CannotLoad, CannotListen, CannotOpen) as error:
        raise click.ClickException(str(error)) from None
    _leave(runner, left_behind)


async def _serve(config: Config) -> bool:
    """Serve until a signal. Returns whether graphs are left that do not stop."""
    stop = asyncio.Event()
    _on_signal(stop.set)
    app = await App.start(config)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again and again
    print(f"listening on {app.address}", flush=True)
    await stop.wait()
    return await app.stop()


@main.command()
@click.option("--connect", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="The server.")
@click.option(
    "--graphs",
    multiple=True,
    required=True,
    metavar="MODULE_OR_FILE:NAME",
    help="A graph to execute runs of; repeatable.",
)
@click.option("--slots", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Runs at once.")
@click.option(
    "--drain",
    type=click.FloatRange(0, 3600),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How long runs may take to finish once it is to stop; the others are handed back.",
)
def worker(connect: str, graphs: tuple[str, ...], slots: int, drain: float) -> None:
    """Execute runs for a server until SIGTERM or Ctrl-C, then drain: finish or hand back what runs, and exit 0.

    Makes an assistant of each graph's name where there is none, and waits for a server that is not there. Logs go to
    stderr.
    """
    configure_logs()
    try:
        executor = Worker(connect, graphs=list(load(graphs).values()), slots=slots, drain=drain)
    except CannotLoad as error:
        raise click.ClickException(str(error)) from None
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    _leave(runner, runner.run(_work(executor)))


async def _work(executor: Worker) -> bool:
    _on_signal(executor.stop)
    return await executor.run()


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _leave(runner: asyncio.Runner, left_behind: bool) -> None:
    """Graphs that swallow their cancellation would keep the interpreter waiting for ever; all else is closed."""
    if left_behind:
        sys.stdout.flush()
        os._exit(0)
    runner.close()
