"""What the commands need: little to start, and nothing of the server unless they serve."""

import asyncio
import json
import re
import signal
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

import click
import pytest
from click.testing import CliRunner

from doubletext.cli import calling
from doubletext.cli.commands.serve import NEEDED, serve
from doubletext.cli.main import MODULES, main
from doubletext_server.config import Config
from doubletext_server.engine.retention import DAY_US, Keep
from doubletext_server.usecases.limits import LONGEST_QUEUE
from doubletext_statemachine.words import Strategy
from tests.cli.command_line import ROOT, Server, serving
from tests.packaging.python import Ended, commands, top_level

SERVER: Final = {"doubletext_server", "doubletext_statemachine"}
WINDOWS: Final = ("uvloop", "fcntl", *NEEDED)
"""The server is not for Windows, so that nothing of it is installed there."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("commands") / "c.db") as running:
        yield running
        assert running.stop() == 0


def verbs() -> dict[tuple[str, ...], click.Command]:
    """The client commands, by their words."""
    found: dict[tuple[str, ...], click.Command] = {}
    for name in ("thread", "run", "queue", "watch"):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else None
        found |= {(name,): command} if inner is None else {(name, each): inner[each] for each in inner}
    return found


def test_every_command_is_in_the_help_and_under_its_own_name() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for name in MODULES:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert f"\n  {name}" in shown


def test_help_waits_for_neither_grpc_nor_the_server() -> None:
    ended, modules = commands(("--help",), ("serve", "--help"), ("run", "create", "--help"), ("worker", "--help"))
    assert [each.code for each in ended] == [0, 0, 0, 0]
    assert not top_level(modules) & {*SERVER, "structlog", "uvloop", "google"}
    assert not modules & {"grpc", "rich.console"}


def test_a_call_imports_what_it_needs_and_no_more(server: Server) -> None:
    (created, got), modules = commands(
        ("thread", "create", "t", "--server", server.address), ("thread", "get", "t", "--server", server.address)
    )
    assert (created.code, got.code) == (0, 0), (created, got)
    assert not top_level(modules) & {*SERVER, "structlog", "uvloop", "uuid6", "transitions", "aiosqlite"}
    assert not modules & {"rich.console", "doubletext.runs", "doubletext.worker", "importlib.resources", "shutil"}


def test_what_the_server_needs_is_what_its_extra_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split("[<>=;]", line)[0] for line in project["optional-dependencies"]["server"]}
    modules = metadata.packages_distributions()
    assert {name for name in NEEDED if not modules.get(name)} == set()
    assert {modules[name][0].replace("_", "-") for name in NEEDED} == wanted


def says_how_to_install(stderr: str, missing: str) -> bool:
    return stderr.splitlines()[-1] == (
        f"Error: this command needs the server, and {missing} is not installed: pip install 'doubletext[server]'"
        " (in a clone: .venv/bin/pip install '.[server]')"
    )


def test_without_the_extra_what_needs_the_server_says_so() -> None:
    ended, modules = commands(
        ("serve", "--db", "a.db"), ("backup", "--db", "a.db", "b.db"), ("check", "a.db"), ("demo",), missing=NEEDED
    )
    for each in ended:
        assert (each.code, each.stdout) == (2, "")
        assert says_how_to_install(each.stderr, NEEDED[0])
    assert not SERVER & top_level(modules)


@pytest.mark.parametrize("missing", NEEDED)
def test_whichever_module_of_the_extra_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    result = CliRunner().invoke(main, ["check", "a.db"])
    assert result.exit_code == 2
    assert says_how_to_install(result.stderr, missing)


def test_the_client_commands_work_where_neither_uvloop_nor_fcntl_can_be_imported(server: Server) -> None:
    at = ("--server", server.address, "--json")
    wait = ("--message", "hello", "--create-thread", "--join")
    calls = {
        ("thread", "create"): ("w",),
        ("thread", "get"): ("w",),
        ("thread", "list"): (),
        ("thread", "state"): ("w",),
        ("thread", "timeline"): ("nowhere", "--svg", "w.svg"),
        ("run", "create"): ("w", "echo", "--request-id", "r", *wait),
        ("run", "list"): ("w",),
        ("run", "get"): ("nobody",),
        ("run", "join"): ("nobody",),
        ("run", "cancel"): ("nobody",),
        ("run", "edit"): ("nobody",),
        ("run", "move"): ("nobody", "--first"),
        ("run", "cancel-all"): ("w",),
        ("thread", "hold"): ("w",),
        ("queue",): ("w",),
        ("thread", "delete"): ("w",),
        ("watch",): ("w",),
    }
    assert calls.keys() == verbs().keys()
    given = [(*verb, *arguments, *at) for verb, arguments in calls.items()]
    ended, modules = commands(*given, *((*verb, "--help") for verb in calls), missing=[*WINDOWS, "matplotlib"])
    results: dict[tuple[str, ...], Ended] = dict(zip(calls, ended, strict=False))
    assert not modules & {*WINDOWS}
    assert json.loads(results["run", "create"].stdout)["run"]["status"] == "success"
    for verb, result in results.items():
        if verb == ("thread", "timeline"):
            assert "matplotlib" in result.stderr
        elif calls[verb][:1] == ("nobody",):
            assert (result.code, json.loads(result.stderr)["error"]["reason"]) == (3, "RUN_NOT_FOUND")
        elif verb == ("watch",):
            assert (result.code, json.loads(result.stderr)["error"]["reason"]) == (3, "THREAD_NOT_FOUND")
        else:
            assert result.code == 0, result
    assert all(each.code == 0 and each.stdout.startswith("Usage: ") for each in ended[len(calls) :])


async def test_the_loop_of_windows_which_has_no_readers_is_left_to_wake_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_reader(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", add_reader)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with calling.woken_by_signals():
        assert signal.set_wakeup_fd(before) == before


def test_the_help_of_serve_says_the_servers_own_limits_and_defaults() -> None:
    options: dict[str, Any] = {option.name or "": option for option in serve.params}
    config, keep = Config("", "", {}), Keep()
    assert list(options["default_strategy"].type.choices) == [strategy.value for strategy in Strategy]
    assert options["default_strategy"].default == config.default_strategy.value
    assert options["max_queued_runs"].default == config.max_queued_runs
    assert options["max_queued_runs"].type.max == LONGEST_QUEUE
    assert options["lease"].default == config.lease_us / 1_000_000
    assert options["keep_days"].default == keep.age_us / DAY_US
    assert options["keep_per_thread"].default == keep.per_thread
    assert keep.idle_us is None
    assert "never" in options["thread_ttl_days"].help
