"""The wheel in a clean environment, in a folder with files whose names are those of modules."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.command_line import ANSI, listening
from tests.packaging.conftest import STRANGERS, Installed, run

pytestmark = pytest.mark.timeout(180)  # pip takes its time on a busy machine


@pytest.fixture(scope="module")
def address(installed: Installed) -> Iterator[str]:
    options = ("--listen", "127.0.0.1:0", "--db", "served.db", "--graphs", "agents.py:mine")
    server = subprocess.Popen(
        installed.command("serve", *options),
        cwd=installed.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    with server:
        try:
            yield listening(server.stdout)
        finally:
            server.terminate()
        assert server.wait(timeout=10) == 0


def test_a_run_is_served_created_joined_and_looked_at(installed: Installed, address: str) -> None:
    at = ("--server", address, "--json")
    wanted = ("--message", "hello", "--create-thread", "--join")
    joined = json.loads(installed("run", "create", "t", "mine", *wanted, *at))
    assert joined["state"]["values"]["messages"][-1]["content"] == "of the current folder"
    assert json.loads(installed("run", "get", joined["run"]["run_id"], *at))["status"] == "success"
    assert json.loads(installed("thread", "list", *at))["thread_id"] == "t"


def test_the_file_is_backed_up_and_checked_while_it_is_served(installed: Installed, address: str) -> None:
    assert installed("backup", "--db", "served.db", "copy.db").startswith("copy.db: ")
    assert installed("check", "copy.db").startswith("ok: ")


def test_a_worker_starts_and_stops(installed: Installed, address: str) -> None:
    arguments = ("worker", "--connect", address, "--graphs", "agents.py:mine")
    worker = subprocess.Popen(installed.command(*arguments), cwd=installed.folder, stderr=subprocess.PIPE, text=True)
    with worker:
        try:
            assert worker.stderr is not None
            for line in worker.stderr:
                if json.loads(line)["event"] == "claiming":
                    break
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=10) == 0
        finally:
            worker.kill()


def test_a_watch_ends_with_its_thread(installed: Installed, address: str) -> None:
    installed("thread", "create", "watched", "--server", address)
    arguments = ("watch", "watched", "--server", address)
    watch = subprocess.Popen(installed.command(*arguments), cwd=installed.folder, stderr=subprocess.PIPE, text=True)
    with watch:
        try:
            installed("thread", "delete", "watched", "--server", address)
            assert watch.stderr is not None
            assert "watched" in watch.stderr.read()
        finally:
            watch.kill()


def test_the_demo_plays_all_four_strategies(installed: Installed) -> None:
    played = installed("demo")
    for strategy in ("reject", "interrupt", "rollback", "enqueue"):
        assert f"\n{strategy}: " in f"\n{played}"
    assert "ALREADY_EXISTS THREAD_BUSY" in played
    assert "NOT_FOUND RUN_ROLLED_BACK" in played
    assert "All four did what they promise." in played
    assert not ANSI.search(played)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_would_be_noticed(installed: Installed, stranger: str) -> None:
    """`python -m`, which puts the current folder first, finds json.py; -P does not."""
    python = str(installed.bin / "python")
    module = stranger.removesuffix(".py")
    assert run(python, "-P", "-m", "doubletext", "--version", cwd=installed.folder).startswith("doubletext")
    with pytest.raises(AssertionError, match=f"{stranger} of the current folder was imported"):
        run(python, "-c", f"import {module}", cwd=installed.folder)


def test_python_statemachine_works_beside_it(installed: Installed) -> None:
    code = (
        "import statemachine, doubletext_statemachine.lifecycle as ours;"
        "print(statemachine.StateMachine.__module__, ours.__name__)"
    )
    shown = run(str(installed.bin / "python"), "-P", "-c", code, cwd=installed.folder)
    assert shown.split() == ["statemachine.statemachine", "doubletext_statemachine.lifecycle"]
