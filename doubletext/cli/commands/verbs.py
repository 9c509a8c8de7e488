"""The verbs `thread …`, `run …` and `watch`: the client for a person or a script, attached to the command line by
doubletext.cli.main."""

from pathlib import Path
from typing import Any, get_args

import click

from doubletext import Client, RunRolledBack, types
from doubletext.cli.command import EPILOG, Exit, Json, JsonObject, Pair, Seconds, ended, verb
from doubletext.cli.commands.follow import follow as follow_run
from doubletext.cli.commands.watch import observe
from doubletext.cli.render import timeline
from doubletext.cli.render.tables import Show, in_line
from doubletext_server.clock import system_clock


@click.group(epilog=EPILOG)
def thread() -> None:
    """Conversations and their states."""


@click.group(epilog=EPILOG)
def run() -> None:
    """Runs on a thread: what a second message does to the first."""


strategy_option = click.option(
    "--strategy",
    type=click.Choice(get_args(types.MultitaskStrategy)),
    help="What a run does to those in flight on its thread.",
)
metadata_option = click.option("--metadata", type=JsonObject(), help="A JSON object, @FILE, or - for stdin.")
filter_option = click.option(
    "--metadata",
    type=Pair(),
    multiple=True,
    metavar="KEY=JSON",
    callback=lambda ctx, param, pairs: dict(pairs),
    help="Those whose metadata has this key with this value; may be given several times.",
)
on_thread_option = click.option("--thread", "thread_id", metavar="ID", help="The thread that the run must be on.")


@verb(thread, "create")
@click.argument("thread_id", required=False)
@metadata_option
@strategy_option
@click.option("--max-queued-runs", type=int, help="How many runs may be pending at once.")
async def thread_create(client: Client, show: Show, strategy: Any, **given: Any) -> None:
    """Start a conversation; the server names it unless THREAD_ID does."""
    show.one(await client.threads.create(default_strategy=strategy, **given))


@verb(thread, "get")
@click.argument("thread_id")
async def thread_get(client: Client, show: Show, thread_id: str) -> None:
    """Show one thread: its status, its running run, the length of its queue."""
    show.one(await client.threads.get(thread_id))


@verb(thread, "list")
@click.option("--status", "statuses", multiple=True, type=click.Choice(get_args(types.ThreadStatus)))
@filter_option
async def thread_list(client: Client, show: Show, **given: Any) -> None:
    """List the threads, newest first."""
    columns = ("thread_id", "status", "active_run_id", "queued_runs", "default_strategy", "update_time")
    await show.all(client.threads.list(**given), columns)


@verb(thread, "state")
@click.argument("thread_id")
@click.option("--step", type=int, help="The state after this step, not the newest.")
async def thread_state(client: Client, show: Show, thread_id: str, step: int | None) -> None:
    """Show what the thread holds: its messages, then everything else."""
    show.state(await client.threads.get_state(thread_id, step))


@verb(thread, "delete")
@click.argument("thread_id")
async def thread_delete(client: Client, show: Show, thread_id: str) -> None:
    """Delete the thread with its states and runs, and stop what runs there."""
    await client.threads.delete(thread_id)
    show.one({"deleted": thread_id})


@verb(thread, "timeline")
@click.argument("thread_id", metavar="THREAD")
@click.option("--svg", required=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="So many runs, the newest.")
async def thread_timeline(client: Client, show: Show, thread_id: str, svg: Path, last: int) -> None:
    """Draw when the thread's runs were queued, ran, and ended, as a Gantt chart.

    Needs matplotlib, which comes with `pip install 'doubletext[timeline]'`.
    """
    try:
        from doubletext.cli.render import chart
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"the chart is drawn with matplotlib, and {error.name} is not installed: pip install 'doubletext[timeline]'"
            " (in a clone: .venv/bin/pip install '.[timeline]')"
        ) from None
    read = await timeline.read(client, thread_id)
    try:
        chart.write(svg, read, system_clock() / 1_000_000, last)
    except OSError as error:
        raise click.BadParameter(f"cannot write {in_line(str(svg))}: {error.strerror}", param_hint="--svg") from None
    show.one({"svg": str(svg), "runs": min(len(read.rows), last)})


@verb(run, "create")
@click.argument("thread_id", metavar="THREAD")
@click.argument("assistant_id", metavar="ASSISTANT")
@click.option("--input", type=JsonObject(), help="A JSON object, @FILE, or - for stdin.")
@click.option("--message", metavar="TEXT", help="Short for an input of one user message.")
@strategy_option
@metadata_option
@click.option("--request-id", metavar="ID", help="Repeating the command with the same id changes nothing.")
@click.option("--create-thread", is_flag=True, help="Create the thread if it is not there.")
@click.option("--delay", type=Seconds(), help="Do not start the run before.")
@click.option("--timeout", type=Seconds(), help="How long one attempt may take.")
@click.option("--join", is_flag=True, help="Wait until the run is final, and show the state it left.")
@click.option("--follow", is_flag=True, help="Show what the run does as it comes, until it is final.")
async def run_create(
    client: Client,
    show: Show,
    thread_id: str,
    assistant_id: str,
    input: Json | None,
    message: str | None,
    strategy: Any,
    create_thread: bool,
    join: bool,
    follow: bool,
    **given: Any,
) -> Exit | None:
    """Start a run of ASSISTANT on THREAD.

    With --follow, Ctrl-C on a terminal asks whether to cancel the run, to roll it back, or to leave it running;
    elsewhere it leaves it running. --json prints each event as it comes, and at the end {"run": …}.
    """
    if join and follow:
        raise click.UsageError("--join and --follow exclude each other")
    if message is not None:
        if input is not None:
            raise click.UsageError("--input and --message exclude each other")
        input = {"messages": [{"role": "user", "content": message}]}
    created = await client.runs.create(
        thread_id,
        assistant_id,
        input=input,
        multitask_strategy=strategy,
        if_thread_not_exists="create" if create_thread else None,
        **given,
    )
    if not (join or follow):
        show.created(created)
        return None
    show.accepted(created)
    if follow:
        return await follow_run(client, show, created)
    try:
        joined = await client.runs.join(thread_id, created["run_id"])
    except RunRolledBack as error:  # between the two calls
        show.error(error)
        return Exit.ENDED_OTHERWISE
    if show.for_script:
        show.one({**joined, "run": {**joined["run"], "superseded": created["superseded"]}})
    else:
        show.joined(joined)
    return ended(joined["run"])


@verb(run, "get")
@click.argument("run_id")
@on_thread_option
async def run_get(client: Client, show: Show, run_id: str, thread_id: str | None) -> None:
    """Show one run."""
    show.one(await client.runs.get(thread_id, run_id))


@verb(run, "join")
@click.argument("run_id")
@on_thread_option
@click.option("--wait", type=Seconds(), help="Show the run as it is after so long; without, there is no limit.")
async def run_join(client: Client, show: Show, run_id: str, thread_id: str | None, wait: float | None) -> Exit:
    """Wait until a run is final; show it, and the thread's state as it left it."""
    joined = await client.runs.join(thread_id, run_id, wait=wait)
    show.joined(joined)
    return ended(joined["run"])


@verb(run, "list")
@click.argument("thread_id", metavar="THREAD")
@click.option("--status", "statuses", multiple=True, type=click.Choice(get_args(types.RunStatus)))
@filter_option
@click.option("--oldest-first", is_flag=True)
async def run_list(client: Client, show: Show, thread_id: str, **given: Any) -> None:
    """List a thread's runs, newest first."""
    columns = ("sequence", "run_id", "status", "multitask_strategy", "queue_position", "superseded_by", "create_time")
    await show.all(client.runs.list(thread_id, **given), columns)


@verb(run, "cancel")
@click.argument("run_id")
@on_thread_option
@click.option("--rollback", is_flag=True, help="Delete what the run did; without, its steps stay.")
@click.option("--wait", type=Seconds(), help="How long to wait for the run's code to stop.")
async def run_cancel(
    client: Client, show: Show, run_id: str, thread_id: str | None, rollback: bool, wait: float | None
) -> None:
    """Stop a run. A run that is final stays as it is."""
    action: types.CancelAction = "rollback" if rollback else "interrupt"
    show.one(await client.runs.cancel(thread_id, run_id, action=action, wait=wait))


@verb(None, "watch")
@click.argument("thread_id", metavar="THREAD")
@click.option("--after", type=click.IntRange(0), metavar="SEQUENCE", help="Only what came after this event.")
async def watch(client: Client, show: Show, thread_id: str, after: int | None) -> Exit:
    """Watch THREAD: its runs with their steps and outputs, live on a terminal; elsewhere a line an event.

    Ends when the thread is deleted.
    """
    return await observe(client, show, thread_id, after)
