"""The verbs `backup` and `check`, for whoever runs the server: about its file, whether it is served just now or not."""

import sys

import click

from doubletext_server.store import check as checks
from doubletext_server.store.sqlite import backup as backups
from doubletext_server.store.sqlite.schema import CannotOpen


@click.command()
@click.option("--db", required=True, metavar="PATH", help="The database file, whether a server serves it or not.")
@click.argument("file")
def backup(db: str, file: str) -> None:
    """Copy the database to a new FILE while a server goes on serving it.

    FILE holds all that was accepted when the command began, and `doubletext serve --db FILE` serves it. It appears once
    it is complete and on disk.
    """
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
