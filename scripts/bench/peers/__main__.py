"""`python -m bench.peers [--rounds 3] [--only NAME] [--out FILE.json] [--charts FOLDER]`"""

import asyncio
import json
from pathlib import Path

import click

from bench.peers import charts, compare, section
from bench.peers.catalogue import SYSTEMS


@click.command()
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--only", type=click.Choice([entry.name for entry in SYSTEMS]), default=None)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the figures go, as JSON.")
@click.option(
    "--charts", "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="And the charts."
)
def main(rounds: int, only: str | None, out: Path | None, folder: Path | None) -> None:
    """Install the peers that are missing, play the scenarios on each, and print the section."""
    result = asyncio.run(compare(rounds, lambda line: click.echo(line, err=True), only or ""))
    if out:
        out.write_text(json.dumps(result, indent=1))
    if folder:
        charts(result, folder)
    click.echo(section(result))


main()
