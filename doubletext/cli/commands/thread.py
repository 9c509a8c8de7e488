"""`doubletext thread …`: conversations and their states."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from doubletext import types
from doubletext.cli.command import client_command
from doubletext.cli.exit_codes import EPILOG
from doubletext.cli.options import filter_option, metadata_option, queue_policy_option, strategy_option

if TYPE_CHECKING:
    from doubletext.cli.render.show import Show
    from doubletext.client import Client


@click.group(epilog=EPILOG)
def thread() -> None:
    """Conversations and their states."""


@client_command(thread, "create")
@click.argument("thread_id", required=False)
@metadata_option
@strategy_option
@queue_policy_option
@click.option("--max-queued-runs", type=int, help="How many inputs may wait at once.")
@click.option("--on-failure", type=click.Choice(("continue", "hold")), help="Whether a run that fails holds it.")
async def thread_create(client: "Client", show: "Show", strategy: Any, queue_policy: Any, **given: Any) -> None:
    """Start a conversation; the server names it unless THREAD_ID does."""
    show.one(await client.threads.create(default_strategy=strategy, default_queue_policy=queue_policy, **given))


@client_command(thread, "get")
@click.argument("thread_id")
async def thread_get(client: "Client", show: "Show", thread_id: str) -> None:
    """Show one thread: its status, its running run, the length of its queue."""
    show.one(await client.threads.get(thread_id))


@client_command(thread, "list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(get_args(types.ThreadStatus)))
@filter_option
async def thread_list(client: "Client", show: "Show", **given: Any) -> None:
    """List the threads, newest first."""
    columns = ("thread_id", "status", "active_run_id", "queued_runs", "default_strategy", "update_time")
    await show.all(client.threads.list(**given), columns)


@client_command(thread, "state")
@click.argument("thread_id")
@click.option("--step", type=int, help="The state after this step, not the newest.")
async def thread_state(client: "Client", show: "Show", thread_id: str, step: int | None) -> None:
    """Show what the thread holds: its messages, then everything else."""
    show.state(await client.threads.get_state(thread_id, step))


@client_command(thread, "hold")
@click.argument("thread_id")
@click.option("--let-go", is_flag=True, help="Let its runs start again.")
async def thread_hold(client: "Client", show: "Show", thread_id: str, let_go: bool) -> None:
    """Start no run on the thread until it is let go; what runs goes on."""
    show.one(await client.threads.update(thread_id, held=not let_go))


@client_command(thread, "delete")
@click.argument("thread_id")
async def thread_delete(client: "Client", show: "Show", thread_id: str) -> None:
    """Delete the thread with its states and runs, and stop what runs there."""
    await client.threads.delete(thread_id)
    show.one({"deleted": thread_id})


@client_command(thread, "timeline")
@click.argument("thread_id", metavar="THREAD")
@click.option("--svg", required=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="So many runs, the newest.")
async def thread_timeline(client: "Client", show: "Show", thread_id: str, svg: Path, last: int) -> None:
    """Draw when the thread's runs were queued, ran, and ended, as a Gantt chart.

    Needs matplotlib, which comes with `pip install 'doubletext[timeline]'`.
    """
    from doubletext.cli.render import timeline
    from doubletext.cli.render.text import in_line

    try:
        from doubletext.cli.render import chart
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"the chart is drawn with matplotlib, and {error.name} is not installed: pip install 'doubletext[timeline]'"
            " (in a clone: .venv/bin/pip install '.[timeline]')"
        ) from None
    read = await timeline.read(client, thread_id)
    try:
        chart.write(svg, read, time.time(), last)  # noqa: TID251 - where the chart ends
    except OSError as error:
        raise click.BadParameter(f"cannot write {in_line(str(svg))}: {error.strerror}", param_hint="--svg") from None
    show.one({"svg": str(svg), "runs": min(len(read.rows), last)})
