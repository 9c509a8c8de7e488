"""The verb `check`, for whoever runs the server: about its file, whether it is served just now or not."""

import sys

import click

from server.store import check as checks
from server.store.schema import CannotOpen


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
    try:
        report = checks.check(file)
    except CannotOpen as error:
        raise CannotCheck(str(error)) from None
    if report.ok:
        click.echo(f"ok: {report.summary()}")
        return
    for line in report.lines():
        click.echo(line)
    click.echo(f"wrong: {sum(report.count.values())} violations in {report.summary()}")
    sys.exit(1)
