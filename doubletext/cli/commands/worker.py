"""`doubletext worker`: executes runs for a server in a process of its own."""

import click


@click.command()
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
    A second Ctrl-C hands back at once.

    Makes an assistant of each graph's name where there is none, and waits for a server that is not there. Logs go to
    stderr.
    """
    from doubletext.cli import process
    from doubletext.cli.logs import configure_logs
    from doubletext.loading import CannotLoad, load
    from doubletext.worker import Worker

    configure_logs()
    try:
        executor = Worker(connect, graphs=list(load(graphs).values()), slots=slots, drain=drain)
    except CannotLoad as error:
        raise click.ClickException(str(error)) from None
    process.run(executor.run(), executor.stop)
