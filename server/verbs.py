"""The verbs `thread …` and `run …`: the client for a person or a script, attached to the command line by server.cli.

A verb is one async function that calls the client and shows what came; what goes around it stands in `verb`.
"""

import asyncio
import functools
import json
import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import click
import grpc

from doubletext import Client, DoubletextError, RunRolledBack, types
from doubletext.convert import struct
from server.show import Show

Json: TypeAlias = Mapping[str, Any]


class Exit(IntEnum):
    """The exit codes, here and nowhere else."""

    DONE = 0
    ENDED_OTHERWISE = 1
    INVALID = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    NOT_FINAL = 6
    INTERNAL = 70
    STOPPED = 130


MEANING: Final = {
    Exit.DONE: "done",
    Exit.ENDED_OTHERWISE: "the run that was joined ended other than in success",
    Exit.INVALID: "wrong usage, or an argument that the server refused",
    Exit.NOT_FOUND: "no such thing, or a run that was rolled back before",
    Exit.REFUSED: "busy, taken, still in flight, or the queue is full",
    Exit.UNAVAILABLE: "the server is unavailable, or a deadline passed",
    Exit.NOT_FINAL: "--wait passed and the run is not final yet",
    Exit.INTERNAL: "an error inside the server, or one it should not give",
    Exit.STOPPED: "stopped by Ctrl-C",
}
EXIT_OF: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: Exit.INVALID,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Exit.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.REFUSED,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
}
EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code.value:<4} {meaning}" for code, meaning in MEANING.items())


class JsonObject(click.ParamType[Json]):
    """A JSON object: in the argument itself, in a file (`@file`), or on stdin (`-`)."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        try:
            parsed = json.loads(self._text(value))
            if not isinstance(parsed, dict):
                raise ValueError(f"it is a {type(parsed).__name__}")
            struct(parsed)
        except (OSError, ValueError, RecursionError) as error:
            self.fail(f"not a JSON object: {error}", param, ctx)
        return parsed

    def _text(self, value: str) -> str:
        if value == "-":
            return sys.stdin.read()
        return Path(value[1:]).read_text("utf-8") if value.startswith("@") else value


class Seconds(click.ParamType[float]):
    """A number of seconds, 0 or more; fractions count."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = click.FLOAT.convert(value, param, ctx)
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"{value} is not a number of seconds, 0 or more", param, ctx)
        return number


class Verbs(click.Group):
    """A group of verbs, which ends by Ctrl-C as the exit codes say; click itself would make it 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(Exit.STOPPED)


Verb: TypeAlias = Callable[..., Awaitable[Exit | None]]


def verb(group: click.Group, name: str) -> Callable[[Verb], click.Command]:
    """Make an async function `(client, show, **arguments)` a command of the group.

    Connects, runs it, prints the error if there is one, and exits as the function or the error says.
    """

    async def outcome(function: Verb, server: str, show: Show, arguments: dict[str, Any]) -> Exit:
        try:
            async with Client(server) as client:
                return await function(client, show, **arguments) or Exit.DONE
        except DoubletextError as error:
            show.error(error)
            return EXIT_OF.get(error.code, Exit.INTERNAL)
        except ValueError as error:  # an argument that has no form on the wire
            show.error(DoubletextError(str(error), code=grpc.StatusCode.INVALID_ARGUMENT))
            return Exit.INVALID

    def decorate(function: Verb) -> click.Command:
        @group.command(name)
        @click.option(
            "--server",
            default="127.0.0.1:50051",
            envvar="DOUBLETEXT_SERVER",
            show_default=True,
            show_envvar=True,
            metavar="HOST:PORT",
            help="Where the server listens.",
        )
        @click.option(
            "--json", "as_json", is_flag=True, help="Print JSON: one document, or one object a line for lists."
        )
        @functools.wraps(function)
        def command(server: str, as_json: bool, **arguments: Any) -> None:
            code = asyncio.run(outcome(function, server, Show(as_json), arguments))
            click.get_current_context().exit(code)

        return command

    return decorate


@click.group(cls=Verbs, epilog=EPILOG)
def thread() -> None:
    """Conversations and their states."""


@click.group(cls=Verbs, epilog=EPILOG)
def run() -> None:
    """Runs on a thread: what a second message does to the first."""


strategy_option = click.option(
    "--strategy",
    type=click.Choice(get_args(types.MultitaskStrategy)),
    help="What a run does to those in flight on its thread.",
)
metadata_option = click.option("--metadata", type=JsonObject(), help="A JSON object, @FILE, or - for stdin.")
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
async def thread_list(client: Client, show: Show, statuses: Any) -> None:
    """List the threads, newest first."""
    columns = ("thread_id", "status", "active_run_id", "queued_runs", "default_strategy", "update_time")
    await show.all(client.threads.list(statuses=statuses), columns)


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


def ended(run: types.Run) -> Exit:
    """What a joined run's status means to whoever waited for it."""
    if run["status"] in ("pending", "running"):
        return Exit.NOT_FINAL
    return Exit.DONE if run["status"] == "success" else Exit.ENDED_OTHERWISE


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
    **given: Any,
) -> Exit | None:
    """Start a run of ASSISTANT on THREAD."""
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
    if not join:
        show.created(created)
        return None
    show.accepted(created)
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
