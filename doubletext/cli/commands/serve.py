"""`doubletext serve`, and `backup` and `check`, which look after the server's file.

The one module of this package that imports the server, and only when a command is called: where the extra `server` is
not installed, the other commands work, and these say what is missing.
"""

import asyncio
import gc
import importlib.util
import re
import sys
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from doubletext import types

if TYPE_CHECKING:
    from doubletext_server.config import Config

NEEDED: Final = (
    "aiosqlite",
    "grpc_health",
    "grpc_reflection",
    "grpc_status",
    "prometheus_client",
    "transitions",
    "uuid6",
    "uvloop",
)
"""The modules that the extra `server` installs."""


def require_server() -> None:
    """Raise click.UsageError where the extra `server` is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"this command needs the server, and {missing[0]} is not installed: pip install 'doubletext[server]'"
            " (in a clone: .venv/bin/pip install '.[server]')"
        )


class Mode(click.ParamType[int]):
    """A file's mode, as chmod takes it in octal."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch("0?6[0-7]{2}", str(value)):
            self.fail(f"{value} is no mode of a file that its owner reads and writes, such as 600 or 640", param, ctx)
        return int(value, 8)


# The defaults and limits of these options are the server's own; `--help` shows them without importing the server.
@click.command()
@click.option("--listen", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="Port 0 picks one.")
@click.option("--db", required=True, metavar="PATH", help="The database file; made if it is not there.")
@click.option(
    "--db-mode",
    type=Mode(),
    default="600",
    show_default=True,
    help="What others may do with that file; one that lets them do more is refused.",
)
@click.option(
    "--graphs",
    multiple=True,
    metavar="MODULE_OR_FILE:NAME",
    help="A graph to serve, beside agent and echo; repeatable.",
)
@click.option(
    "--default-strategy",
    type=click.Choice(get_args(types.MultitaskStrategy)),
    default="enqueue",
    show_default=True,
    help="For calls and threads that name none.",
)
@click.option(
    "--max-queued-runs",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many runs of a thread may be pending at once; a thread may have its own limit.",
)
@click.option(
    "--lease",
    type=click.FloatRange(1, 3600),
    default=15.0,
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
    db_mode: int,
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
    require_server()
    from doubletext.cli import process
    from doubletext.cli.logs import configure_logs
    from doubletext.loading import CannotLoad, load
    from doubletext.samples import BUILT_IN
    from doubletext_server.address import CannotListen
    from doubletext_server.config import Config
    from doubletext_server.engine.retention import DAY_US, Keep
    from doubletext_server.store.sqlite.schema import CannotOpen
    from doubletext_statemachine.words import Strategy

    configure_logs()
    try:
        known = {**BUILT_IN, **load(graphs)}  # a named one may take a built-in one's place
        keep = Keep(
            int(keep_days * DAY_US), keep_per_thread, int(thread_ttl_days * DAY_US) if thread_ttl_days else None
        )
        strategy, lease_us = Strategy(default_strategy), int(lease * 1_000_000)
        config = Config(listen, db, known, strategy, max_queued_runs, lease_us, keep, metrics=metrics, db_mode=db_mode)
        stop = asyncio.Event()
        process.run(_serve(config, stop), stop.set)
    except (CannotLoad, CannotListen, CannotOpen) as error:
        raise click.ClickException(str(error)) from None


async def _serve(config: "Config", stop: asyncio.Event) -> bool:
    """Serve until `stop` is set. Returns whether graphs are left that do not stop."""
    import structlog

    from doubletext.cli.stdio import announce
    from doubletext_server.app import App

    log = structlog.get_logger("serve")
    app = await App.start(config)
    gc.collect()
    # A call leaves few cycles behind, and by default the collector looks for them after each two or three calls.
    gc.set_threshold(20_000, 20, 20)
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again and again
    try:
        if not announce(f"listening on {app.address}"):
            log.warning("nobody reads stdout", address=app.address)
        await stop.wait()
    finally:
        left = await app.stop()
    return left


@click.command()
@click.option("--db", required=True, metavar="PATH", help="The database file, whether a server serves it or not.")
@click.argument("file")
def backup(db: str, file: str) -> None:
    """Copy the database to a new FILE while a server goes on serving it.

    FILE holds all that was accepted when the command began, and `doubletext serve --db FILE` serves it. It appears once
    it is complete and on disk.
    """
    require_server()
    from doubletext_server.store.sqlite import backup as backups

    try:
        size = backups.backup(db, file)
    except backups.CannotBackUp as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{file}: {size} bytes")


class CannotCheck(click.ClickException):
    exit_code = 2


@click.command(
    epilog="\b\nExit codes:\n  0    nothing is wrong\n  1    something is, as listed\n  2    FILE cannot be checked"
)
@click.argument("file")
def check(file: str) -> None:
    """Check a database FILE, a backup or one being served, and list all that is wrong with it.

    Reads it whole: the file itself, and what it says of threads, runs, steps and events.
    """
    require_server()
    from doubletext_server.store import check as checks
    from doubletext_server.store.sqlite.schema import CannotOpen

    try:
        report = checks.check(file)
    except CannotOpen as error:
        raise CannotCheck(str(error)) from None
    if report.ok:
        click.echo(f"ok: {report.summary()}")
        return
    for line in report.lines():
        click.echo(line)
    click.echo(f"wrong: {checks.counted(sum(report.count.values()), 'violation')} in {report.summary()}")
    sys.exit(1)
