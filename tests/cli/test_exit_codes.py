"""The exit codes of the client verbs: which outcome ends with which, and what stands on stderr."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import threading
from contextlib import closing
from typing import Any, Final

import click
import pytest
from click.testing import CliRunner

from doubletext.cli.command import client_command
from doubletext.cli.exit_codes import EXIT_OF, MEANING, Exit
from doubletext.cli.main import main
from doubletext_server.grpc.errors import STATUS_OF
from tests.cli.command_line import ROOT, Server, Verbs, command


def test_a_run_that_ends_otherwise_is_exit_1(verbs: Verbs, thread_id: str, held: str) -> None:
    verbs("run", "cancel", held)
    assert verbs.json("run", "join", held, code=Exit.RUN_FAILED)["run"]["status"] == "interrupted"
    told = verbs("run", "create", thread_id, "fails", "--join", code=Exit.RUN_FAILED).stdout
    assert "LookupError" in told


USAGE: Final = {
    "no such verb": ("thread", "creat"),
    "no argument": ("run", "create"),
    "no such strategy": ("run", "create", "t", "echo", "--strategy", "interupt"),
    "no JSON": ("run", "create", "t", "echo", "--input", "{"),
    "no object": ("run", "create", "t", "echo", "--input", "[]"),
    "NaN": ("run", "create", "t", "echo", "--input", '{"a": NaN}'),
    "no file": ("run", "create", "t", "echo", "--input", "@/nowhere.json"),
    "two inputs": ("run", "create", "t", "echo", "--input", "{}", "--message", "hello"),
    "a negative wait": ("run", "join", "r", "--wait", "-1"),
    "an endless wait": ("run", "join", "r", "--wait", "inf"),
}


@pytest.mark.parametrize("what", USAGE)
def test_wrong_usage_is_exit_2(verbs: Verbs, what: str) -> None:
    result = verbs(*USAGE[what], code=Exit.INVALID)
    assert result.stdout == ""
    assert "Error: " in result.stderr


def test_what_the_server_finds_invalid_is_exit_2_with_each_violation(verbs: Verbs) -> None:
    error = verbs.error("run", "create", "a b", "c d", code=Exit.INVALID)
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert {each["field"] for each in error["violations"]} == {"thread_id", "assistant_id"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("thread", "get", "nowhere"), "THREAD_NOT_FOUND"),
        (("thread", "state", "nowhere"), "THREAD_NOT_FOUND"),
        (("thread", "delete", "nowhere"), "THREAD_NOT_FOUND"),
        (("run", "create", "nowhere", "echo"), "THREAD_NOT_FOUND"),
        (("run", "list", "nowhere"), "THREAD_NOT_FOUND"),
        (("run", "get", "nowhere"), "RUN_NOT_FOUND"),
        (("run", "join", "nowhere"), "RUN_NOT_FOUND"),
        (("run", "cancel", "nowhere"), "RUN_NOT_FOUND"),
        (("run", "create", "x", "nobody", "--create-thread"), "ASSISTANT_NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_exit_3(verbs: Verbs, arguments: tuple[str, ...], reason: str) -> None:
    error = verbs.error(*arguments, code=Exit.NOT_FOUND)
    assert (error["code"], error["reason"]) == ("NOT_FOUND", reason)


def test_what_is_refused_is_exit_4(verbs: Verbs, thread_id: str, held: str) -> None:
    busy = verbs.error("run", "create", thread_id, "echo", "--strategy", "reject", code=Exit.REFUSED)
    assert (busy["reason"], busy["metadata"]["active_run_id"]) == ("THREAD_BUSY", held)
    assert verbs.error("thread", "create", thread_id, code=Exit.REFUSED)["reason"] == "THREAD_EXISTS"


def test_nobody_there_is_exit_5() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        error = Verbs(f"127.0.0.1:{free.getsockname()[1]}").error("thread", "create", code=Exit.UNAVAILABLE)
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "")


def test_a_wait_that_passes_is_exit_6_and_shows_the_run_as_it_is(verbs: Verbs, held: str) -> None:
    assert verbs.json("run", "join", held, "--wait", "0", code=Exit.NOT_FINAL)["run"]["status"] == "running"
    assert "running" in verbs("run", "join", held, "--wait", "0", code=Exit.NOT_FINAL).stdout


def test_ctrl_c_while_joining_is_exit_130(server: Server, verbs: Verbs, held: str) -> None:
    joining = subprocess.Popen(
        command("run", "join", held, "--server", server.address),
        cwd=ROOT,
        env={**os.environ, "GRPC_VERBOSITY": "info", "GRPC_TRACE": "http"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with joining:
        assert joining.stderr is not None
        for line in joining.stderr:  # the trace of the call's request going out
            if "JoinRun" in line:
                break
        joining.send_signal(signal.SIGINT)
        left = joining.stderr.read()
        assert joining.wait(timeout=4) == Exit.STOPPED
    assert "Traceback" not in left


def test_every_exit_code_stands_in_the_help() -> None:
    assert set(MEANING) == set(Exit)
    told = CliRunner().invoke(main, ["run", "--help"]).stdout
    for code, meaning in MEANING.items():
        assert re.search(rf"^\s+{code.value}\s+{re.escape(meaning)}", told, re.MULTILINE)


def test_every_status_of_a_refusal_has_an_exit_code() -> None:
    codes = {code.name for code, _ in STATUS_OF.values()}
    assert codes <= set(EXIT_OF)


def test_ctrl_c_wakes_a_loop_that_it_does_not_interrupt() -> None:
    """Taken by another thread, as it is by this one just before it falls asleep, it breaks off no system call here."""
    asleep = threading.Event()

    def taken_elsewhere() -> None:
        asleep.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    async def waits(client: Any, show: Any) -> None:
        threading.Thread(target=taken_elsewhere).start()
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        select = selector.select

        def falls_asleep(timeout: float | None) -> Any:
            if timeout is None:
                asleep.set()  # the other thread cannot run before this one lets go of the interpreter, asleep
            return select(timeout)

        selector.select = falls_asleep
        await asyncio.Event().wait()

    with pytest.raises(click.Abort):
        client_command(None, "waits")(waits).main([], standalone_mode=False)
    assert signal.set_wakeup_fd(-1) == -1, "it is left as it was found"
