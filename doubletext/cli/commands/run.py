"""`doubletext run …`: what happens on a thread."""

from typing import TYPE_CHECKING, Any, Final, get_args

import click

from doubletext import types
from doubletext.cli.command import client_command
from doubletext.cli.exit_codes import EPILOG, Exit, ended
from doubletext.cli.options import (
    Json,
    JsonObject,
    Seconds,
    filter_option,
    metadata_option,
    queue_policy_option,
    strategy_option,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from doubletext.cli.render.show import Show
    from doubletext.client import Client


@click.group(epilog=EPILOG)
def run() -> None:
    """Runs on a thread: what a second message does to the first."""


on_thread_option: Final = click.option(
    "--thread", "thread_id", metavar="ID", help="The thread that the run must be on."
)


@client_command(run, "create")
@click.argument("thread_id", metavar="THREAD")
@click.argument("assistant_id", metavar="ASSISTANT")
@click.option("--input", type=JsonObject(), help="A JSON object, @FILE, or - for stdin.")
@click.option("--message", metavar="TEXT", help="Short for an input of one user message.")
@strategy_option
@queue_policy_option
@click.option("--debounce", type=Seconds(), help="With --queue-policy merge: wait so long for further messages.")
@click.option("--max-wait", type=Seconds(), help="With --debounce: how long the oldest message may wait in all.")
@click.option("--start-within", type=Seconds(), help="Give the run up if it has not started so long after it is due.")
@click.option("--expected-run-id", metavar="ID", help="Only if this run is running.")
@metadata_option
@click.option("--request-id", metavar="ID", help="Repeating the command with the same id changes nothing.")
@click.option("--create-thread", is_flag=True, help="Create the thread if it is not there.")
@click.option("--delay", type=Seconds(), help="Do not start the run before.")
@click.option("--timeout", type=Seconds(), help="How long one attempt may take.")
@click.option("--join", is_flag=True, help="Wait until the run is final, and show the state it left.")
@click.option("--follow", is_flag=True, help="Show what the run does as it comes, until it is final.")
async def run_create(
    client: "Client",
    show: "Show",
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
    return await (_follow if follow else _join)(client, show, created)


async def _follow(client: "Client", show: "Show", created: types.CreatedRun) -> Exit:
    from doubletext.cli.commands.follow import follow

    return await follow(client, show, created)


async def _join(client: "Client", show: "Show", created: types.CreatedRun) -> Exit:
    """Wait for a run that was just created, and show it with the state that it left."""
    from doubletext.cli.commands.hints import hinted
    from doubletext.errors import RunRolledBack

    try:
        with hinted(client, created["thread_id"], created["run_id"]):
            joined = await client.runs.join(created["thread_id"], created["run_id"])
    except RunRolledBack as error:  # between the two calls
        show.error(error)
        return Exit.RUN_FAILED
    if show.for_script:
        show.one({**joined, "run": {**joined["run"], "superseded": created["superseded"]}})
    else:
        show.joined(joined)
    return ended(joined["run"])


@client_command(run, "get")
@click.argument("run_id")
@on_thread_option
async def run_get(client: "Client", show: "Show", run_id: str, thread_id: str | None) -> None:
    """Show one run."""
    show.one(await client.runs.get(thread_id, run_id))


@client_command(run, "join")
@click.argument("run_id")
@on_thread_option
@click.option("--wait", type=Seconds(), help="Show the run as it is after so long; without, there is no limit.")
@click.option("--follow", is_flag=True, help="Go on with the run that superseded it or that it was merged into.")
async def run_join(
    client: "Client", show: "Show", run_id: str, thread_id: str | None, wait: float | None, follow: bool
) -> Exit:
    """Wait until a run is final; show it, and the thread's state as it left it."""
    from doubletext.cli.commands.hints import hinted

    with hinted(client, thread_id, run_id):
        joined = await client.runs.join(thread_id, run_id, wait=wait, follow=follow)
    show.joined(joined)
    return ended(joined["run"])


@client_command(run, "list")
@click.argument("thread_id", metavar="THREAD")
@click.option("--status", "statuses", multiple=True, type=click.Choice(get_args(types.RunStatus)))
@filter_option
@click.option("--oldest-first", is_flag=True)
async def run_list(client: "Client", show: "Show", thread_id: str, **given: Any) -> None:
    """List a thread's runs, newest first."""
    columns = ("sequence", "run_id", "status", "multitask_strategy", "queue_position", "superseded_by", "create_time")
    runs = client.runs.list(thread_id, **given)
    await show.all(runs if show.for_script else _named_if_unserved(runs), columns)


async def _named_if_unserved(runs: "AsyncIterator[types.Run]") -> "AsyncIterator[dict[str, Any]]":
    async for run in runs:
        yield {**run, "status": f"{run['status']} (unserved)" if run["unserved"] else run["status"]}


@client_command(run, "edit")
@click.argument("run_id")
@on_thread_option
@click.option("--input", type=JsonObject(), help="In the place of the old one: a JSON object, @FILE, or - for stdin.")
@click.option("--message", metavar="TEXT", help="Short for an input of one user message.")
@metadata_option
@click.option("--delay", type=Seconds(), help="Do not start the run before; from now on.")
@click.option("--timeout", type=Seconds(), help="How long one attempt may take.")
@click.option("--revision", "expected_revision", type=int, help="Only if the run has this revision.")
async def run_edit(
    client: "Client", show: "Show", run_id: str, thread_id: str | None, message: str | None, **given: Any
) -> None:
    """Change a run that has not started."""
    if message is not None:
        if given["input"] is not None:
            raise click.UsageError("--input and --message exclude each other")
        given["input"] = {"messages": [{"role": "user", "content": message}]}
    show.one(await client.runs.update(thread_id, run_id, **given))


@client_command(run, "move")
@click.argument("run_id")
@on_thread_option
@click.option("--first", is_flag=True, help="Before all that wait.")
@click.option("--last", is_flag=True, help="Behind all that wait.")
@click.option("--before", metavar="RUN", help="Before this one.")
@click.option("--after", metavar="RUN", help="Behind this one.")
@click.option("--revision", "expected_revision", type=int, help="Only if the run has this revision.")
async def run_move(client: "Client", show: "Show", run_id: str, thread_id: str | None, **given: Any) -> None:
    """Give a run that has not started another place among those that wait."""
    if sum(bool(given[name]) for name in ("first", "last", "before", "after")) != 1:
        raise click.UsageError("pass one of --first, --last, --before and --after")
    show.one(await client.runs.move(thread_id, run_id, **given))


@client_command(run, "cancel-all")
@click.argument("thread_id", metavar="THREAD")
@click.option("--status", "statuses", multiple=True, type=click.Choice(("pending", "running")), help="Only these.")
@click.option("--rollback", is_flag=True, help="Delete what the runs did; without, their steps stay.")
async def run_cancel_all(
    client: "Client", show: "Show", thread_id: str, statuses: tuple[types.RunStatus, ...], rollback: bool
) -> None:
    """Stop all runs in flight on a thread, at once."""
    action: types.CancelAction = "rollback" if rollback else "interrupt"
    show.one({"cancelled": await client.runs.cancel_all(thread_id, statuses=statuses, action=action)})


@client_command(run, "cancel")
@click.argument("run_id")
@on_thread_option
@click.option("--rollback", is_flag=True, help="Delete what the run did; without, its steps stay.")
@click.option("--wait", type=Seconds(), help="How long to wait for the run's code to stop.")
async def run_cancel(
    client: "Client", show: "Show", run_id: str, thread_id: str | None, rollback: bool, wait: float | None
) -> None:
    """Stop a run. A run that is final stays as it is."""
    action: types.CancelAction = "rollback" if rollback else "interrupt"
    show.one(await client.runs.cancel(thread_id, run_id, action=action, wait=wait))
