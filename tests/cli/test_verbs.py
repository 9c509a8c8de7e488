"""The client verbs: what each of them does and shows, in a pipe and on a terminal."""

import json
import os
import pty
import select
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from doubletext.cli.exit_codes import Exit
from tests.cli.command_line import ANSI, ROOT, Server, Verbs, command, run


def test_a_thread_is_created_shown_listed_and_deleted(verbs: Verbs) -> None:
    created = verbs.json("thread", "create", "--metadata", '{"a": 1}', "--strategy", "reject", "--max-queued-runs", "7")
    name = created["thread_id"]
    assert (created["metadata"], created["default_strategy"], created["max_queued_runs"]) == ({"a": 1}, "reject", 7)
    assert verbs.json("thread", "get", name) == created
    told = verbs("thread", "get", name).stdout
    assert name in told
    assert "reject" in told
    lines = verbs("thread", "list", "--status", "idle", "--json").stdout.splitlines()
    assert json.loads(lines[0]) == created
    table = verbs("thread", "list").stdout.splitlines()
    assert table[0].split()[:2] == ["thread_id", "status"]
    assert table[1].split()[:2] == [name, "idle"]
    assert verbs.json("thread", "delete", name) == {"deleted": name}
    assert verbs.error("thread", "get", name, code=Exit.NOT_FOUND)["reason"] == "THREAD_NOT_FOUND"


def test_numbers_and_the_order_of_keys_are_kept(verbs: Verbs, thread_id: str) -> None:
    given = '{"z": [9007199254740993, 1e400, 1.0e5, -0], "a": "é"}'
    as_ascii = given.replace("é", "\\u00e9")
    run_id = verbs.json("run", "create", thread_id, "echo", "--input", given, "--join")["run"]["run_id"]
    assert f'"input": {as_ascii}' in verbs("run", "get", run_id, "--json").stdout
    assert f'"values": {as_ascii[:-1]}' in verbs("thread", "state", thread_id, "--json").stdout
    assert "[9007199254740993, 1e400, 1.0e5, -0]" in verbs("thread", "state", thread_id).stdout


def test_threads_and_runs_are_listed_by_metadata(verbs: Verbs, thread_id: str) -> None:
    created = verbs.json("thread", "create", "--metadata", '{"team": "north", "open": true}')["thread_id"]
    for pairs, found in (
        (['team="north"'], created),
        (['team="north"', "open=true"], created),
        (['team="north"', "open=false"], ""),
        (["team=1"], ""),
    ):
        options = [word for pair in pairs for word in ("--metadata", pair)]
        lines = verbs("thread", "list", "--status", "idle", *options).stdout.splitlines()[1:]
        assert [line.split()[0] for line in lines] == ([found] if found else [])
    run_id = verbs.json("run", "create", thread_id, "echo", "--metadata", '{"x": {"n": [1]}}')["run_id"]
    for pair, found in (('x={"n": [1.0]}', 1), ("x=1", 0)):
        assert len(verbs("run", "list", thread_id, "--metadata", pair, "--json").stdout.splitlines()) == found
    listed = verbs("run", "list", thread_id, "--metadata", "x", code=Exit.INVALID)
    assert "x is not KEY=JSON" in listed.stderr
    assert "is not KEY=JSON" in verbs("run", "list", thread_id, "--metadata", "x=north", code=Exit.INVALID).stderr
    verbs("run", "join", run_id)


def test_a_threads_state_is_shown_as_a_conversation(verbs: Verbs, thread_id: str) -> None:
    verbs("run", "create", thread_id, "echo", "--message", "hello there", "--join")
    state = verbs.json("thread", "state", thread_id)
    assert [message["content"] for message in state["values"]["messages"]] == ["hello there"] * 2
    assert [line.split()[0] for line in verbs("thread", "state", thread_id).stdout.splitlines()[-2:]] == [
        "user",
        "assistant",
    ]
    assert verbs.json("thread", "state", thread_id, "--step", "0")["values"] == {}
    assert verbs.error("thread", "state", thread_id, "--step", "9", code=Exit.NOT_FOUND)["reason"] == "STEP_NOT_FOUND"
    assert (
        verbs.error("thread", "state", thread_id, "--step", "-1", code=Exit.INVALID)["violations"][0]["field"] == "step"
    )


def test_input_comes_from_the_argument_a_file_or_stdin(verbs: Verbs, thread_id: str, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"from": "file"}')
    for value, stdin, given in (
        ('{"from": "argument"}', None, "argument"),
        (f"@{tmp_path / 'input.json'}", None, "file"),
        ("-", '{"from": "stdin"}', "stdin"),
    ):
        created = verbs.json("run", "create", thread_id, "echo", "--input", value, stdin=stdin)
        assert created["input"] == {"from": given}


def test_a_run_is_created_shown_listed_and_joined(verbs: Verbs, thread_id: str) -> None:
    options = ("--metadata", '{"a": 1}', "--request-id", "once", "--delay", "0", "--timeout", "60")
    created = verbs.json("run", "create", thread_id, "echo", "--message", "hello", *options)
    assert created["input"] == {"messages": [{"role": "user", "content": "hello"}]}
    assert (created["metadata"], created["timeout"], created["superseded"]) == ({"a": 1}, 60.0, [])
    again = verbs.json("run", "create", thread_id, "echo", "--message", "hello", *options)
    assert again["run_id"] == created["run_id"]
    joined = verbs.json("run", "join", created["run_id"], "--thread", thread_id)
    assert joined["run"]["status"] == "success"
    assert verbs.json("run", "get", created["run_id"]) == joined["run"]
    assert "success" in verbs("run", "get", created["run_id"]).stdout
    assert json.loads(verbs("run", "list", thread_id, "--json", "--oldest-first").stdout) == joined["run"]
    assert verbs("run", "list", thread_id, "--status", "success").stdout.splitlines()[1].split()[1] == created["run_id"]
    assert len(verbs("run", "list", thread_id, "--status", "error").stdout.splitlines()) == 1


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", "deleted")])
def test_a_second_message_shows_what_it_ended(
    verbs: Verbs, thread_id: str, held: str, strategy: str, left: str
) -> None:
    second = verbs.json("run", "create", thread_id, "echo", "--message", "instead", "--strategy", strategy, "--join")
    assert second["run"]["status"] == "success"
    assert [(run["run_id"], run["status"]) for run in second["run"]["superseded"]] == [(held, left)]


def test_a_second_message_that_waits_has_a_place_in_line(verbs: Verbs, thread_id: str, held: str) -> None:
    second = verbs.json("run", "create", thread_id, "echo", "--strategy", "enqueue")
    assert second["queue_position"] == 1
    assert verbs.json("run", "cancel", held, "--wait", "2")["status"] == "interrupted"
    assert verbs.json("run", "join", second["run_id"])["run"]["status"] == "success"


def test_a_cancelled_run_keeps_its_steps_or_loses_them(verbs: Verbs, thread_id: str, held: str) -> None:
    assert verbs.json("run", "cancel", held, "--rollback")["status"] == "deleted"
    assert verbs.json("thread", "state", thread_id)["values"] == {}
    assert verbs.error("run", "get", held, code=Exit.NOT_FOUND)["reason"] == "RUN_ROLLED_BACK"
    assert "deleted" in verbs("run", "cancel", held).stdout


# What reaches the terminal


UGLY: Final = "\x1b[31mred\x1b[0m [bold]not bold[/bold] \u202e"


def test_a_pipe_gets_no_escape_sequence_whatever_the_environment_says(
    server: Server, verbs: Verbs, thread_id: str
) -> None:
    created = verbs("run", "create", thread_id, "echo", "--message", UGLY, "--join").stdout
    assert "\\x1b[31mred\\x1b[0m [bold]not bold[/bold] \\u202e" in created
    arguments = ("thread", "list", "--server", server.address)
    listed = run(*arguments, FORCE_COLOR="1", CLICOLOR_FORCE="1", TERM="xterm-256color", COLUMNS="40")
    assert listed.returncode == 0
    assert not ANSI.search(listed.stdout)
    assert thread_id in listed.stdout  # whole, however narrow the terminal is said to be


def test_a_terminal_gets_colours_but_none_that_others_wrote(server: Server, verbs: Verbs, thread_id: str) -> None:
    verbs("run", "create", thread_id, "echo", "--message", UGLY, "--join")
    shown = on_a_terminal("thread", "state", thread_id, "--server", server.address)
    assert "\x1b[1m" in shown
    assert "\x1b[31m" not in shown
    assert "[bold]not bold[/bold]" in shown


def on_a_terminal(*arguments: str) -> str:
    """What the command writes when its stdout is a terminal."""
    here, there = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(command(*arguments), cwd=ROOT, env={**environment, "TERM": "xterm"}, stdout=there)
    os.close(there)
    written = b""
    with process, closing(os.fdopen(here, "rb", buffering=0)) as terminal:
        try:
            while select.select([terminal], [], [], 10)[0] and (data := terminal.read(4096)):
                written += data
        except OSError:  # Linux: the other end is closed
            pass
    assert process.returncode == 0
    return written.decode()
