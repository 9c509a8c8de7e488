"""`run create --follow`: a run's outputs and steps as they come, its outcome, and what Ctrl-C does meanwhile."""

import asyncio
import shlex
import sys
from typing import Any, Final, Literal, TypeAlias, cast

import click

from doubletext import types
from doubletext.cli.commands.hints import hinted
from doubletext.cli.exit_codes import Exit, ended
from doubletext.cli.render.events import cause, end_of, piece, saying, what
from doubletext.cli.render.show import Show
from doubletext.cli.render.text import in_line, printable
from doubletext.client import Client
from doubletext.errors import NotFound, RunRolledBack

Answer: TypeAlias = Literal["interrupt", "rollback"] | None

QUESTION: Final = "[c]ancel the run, [r]oll it back, or [l]eave it running?"
MEANT: Final[dict[str, Answer]] = {"c": "interrupt", "r": "rollback", "l": None}


async def follow(client: Client, show: Show, created: types.CreatedRun) -> Exit:
    """Print what the run does until it ends. Return the exit code for its end, or STOPPED when it is left running."""
    following = asyncio.create_task(_with_hint(client, show, created))
    try:
        # Shielded: Ctrl-C cancels this task, and the stream goes on where it is after the question.
        run = await asyncio.shield(following)
    except asyncio.CancelledError:
        _go_on()
        if (action := _ask()) is None:
            following.cancel()
            _say_how_to_come_back(created)
            return Exit.STOPPED
        await client.runs.cancel(created["thread_id"], created["run_id"], action=action)
        run = await following
    except RunRolledBack as error:  # before the first event came
        show.error(error)
        return Exit.RUN_FAILED
    return ended(run)


def _go_on() -> None:
    """Undo the cancellation that Ctrl-C caused."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def _with_hint(client: Client, show: Show, created: types.CreatedRun) -> types.Run:
    with hinted(client, created["thread_id"], created["run_id"]):
        return await _to_the_end(client, show, created)


async def _to_the_end(client: Client, show: Show, created: types.CreatedRun) -> types.Run:
    """Print events up to the one that ends the run, and then how the run ended. Return the final run."""
    printer = Printer(show)
    async for event in client.runs.watch(created["thread_id"], created["run_id"]):
        printer.event(event)
        if (changed := end_of(event)) is not None:
            run = await _ended_run(client, created, changed, event["time"])
            printer.outcome(run, created["superseded"])
            return run
    raise AssertionError("the stream of a run's events ended before the run did")


async def _ended_run(
    client: Client, created: types.CreatedRun, changed: types.RunChanged, time: str | None
) -> types.Run:
    """Return the run as it is. For a deleted run, return what its last event says."""
    try:
        return await client.runs.get(created["thread_id"], created["run_id"])
    except NotFound:
        run: Any = {key: value for key, value in created.items() if key != "superseded"}
        end = {"status": changed["to"], "superseded_by": changed["superseded_by"], "reason": changed["reason"]}
        return cast("types.Run", {**run, **end, "input": {}, "queue_position": 0, "last_step": 0, "end_time": time})


class Printer:
    """Prints a run's events as JSON, or as lines. Pieces of text are joined to a text."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._in_text = False

    def event(self, event: types.Event) -> None:
        if self._show.for_script:
            self._show.one(event)
        elif (text := piece(event)) is not None:
            click.echo(printable(text), nl=False)
            self._in_text = not text.endswith("\n") if text else self._in_text
        elif end_of(event) is None:
            step = event.get("step_committed")
            self._line(f"step {step['step']}  {saying(step['update'])}" if step is not None else what(event))

    def outcome(self, run: types.Run, superseded: list[types.Run]) -> None:
        """Print how the run ended, and why if its graph did not end it."""
        if self._show.for_script:
            self._show.one({"run": {**run, "superseded": superseded}})
            return
        error = run["error"]
        why = f"{error['type']}: {error['message']}" if error else cause(run["reason"], run["superseded_by"])
        self._line("  ".join(text for text in ("ended", in_line(run["status"]), in_line(why)) if text))

    def _line(self, text: str) -> None:
        if self._in_text:
            click.echo()
            self._in_text = False
        click.echo(text)


def _ask() -> Answer:
    """Ask what to do with the run. Without a terminal, and after Ctrl-C, Ctrl-D or Enter, leave it running."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    click.echo(err=True)
    try:
        answer = click.prompt(
            QUESTION, type=click.Choice([*MEANT], case_sensitive=False), default="l", show_choices=False, err=True
        )
    except click.Abort:
        click.echo(err=True)
        return None
    return MEANT[answer]


def _say_how_to_come_back(run: types.CreatedRun) -> None:
    """Print on stderr the commands that lead back to a run that goes on."""
    context = click.get_current_context()
    given = context.get_parameter_source("server") is click.core.ParameterSource.COMMANDLINE
    more = ["--thread", run["thread_id"], *(["--server", context.params["server"]] if given else [])]
    click.echo("the run goes on; to wait for it, or to stop it:", err=True)
    for word in ("join", "cancel"):
        click.echo(f"  doubletext run {word} {in_line(shlex.join([run['run_id'], *more]))}", err=True)
