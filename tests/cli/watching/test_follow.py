"""`run create --follow`: what a run does as it comes, its outcome, its exit code, and what Ctrl-C does."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from doubletext.cli.exit_codes import Exit
from tests.cli.command_line import ANSI, Server, Verbs
from tests.cli.watching.conftest import LogOf, ends
from tests.cli.watching.terminal import CTRL_C, Pipe, Terminal, pipe, terminal

HOLD = ("--input", '{"hold": true}')
OUTPUTS = ["progress  {'read': 1}".replace("'", '"'), "It is \\x1b[31msunny.\\u202e"]


def test_outputs_and_steps_come_with_the_outcome_at_the_end(verbs: Verbs, thread_id: str) -> None:
    lines = verbs("run", "create", thread_id, "talks", "--message", "hello", "--follow").stdout.splitlines()
    assert re.fullmatch(r"accepted  [0-9a-f-]{36}", lines[0])
    assert lines[1:] == [
        "",
        "pending",
        "running",
        "step 1  user: hello",
        *OUTPUTS,
        "step 2  assistant: It is sunny.\\x1b[31m; done: true",
        "ended  success",
    ]


def test_a_run_that_fails_is_exit_1_and_says_why(verbs: Verbs, thread_id: str) -> None:
    told = verbs("run", "create", thread_id, "fails", "--follow", code=Exit.RUN_FAILED).stdout
    assert told.endswith("step 2  so: far\nended  error  No$such$<weather>\\x1b[31m\uffff: none in \\x1b[31msf\n")


@contextmanager
def following(server: Server, thread_id: str, *more: str) -> Iterator[Pipe]:
    """A run that is followed in a pipe, once it holds on."""
    with pipe("run", "create", thread_id, "talks", *HOLD, "--follow", "--server", server.address, *more) as followed:
        followed.until("holding")
        yield followed


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", "deleted")])
def test_a_superseded_run_is_exit_1_and_says_by_which(
    server: Server, verbs: Verbs, thread_id: str, strategy: str, left: str
) -> None:
    with following(server, thread_id) as followed:
        second = verbs.json("run", "create", thread_id, "talks", "--strategy", strategy)["run_id"]
        code, lines, errors = followed.end()
    assert (code, errors) == (Exit.RUN_FAILED, "")
    assert lines == [f"ended  {left}  SUPERSEDED by {second}"]


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", "deleted")])
def test_as_json_it_is_the_log_and_then_the_run(
    server: Server, verbs: Verbs, thread_id: str, log_of: LogOf, held: str, strategy: str, left: str
) -> None:
    more = ("--strategy", "interrupt", "--json", "--server", server.address)
    with pipe("run", "create", thread_id, "talks", *HOLD, "--follow", *more) as followed:
        events = [json.loads(line) for line in followed.lines(10)]
        assert events[-1]["output"]["data"] == {"holding": "on"}
        run_id = events[0]["run_id"]
        second = verbs.json("run", "create", thread_id, "talks", "--strategy", strategy)["run_id"]
        code, rest, errors = followed.end()
    assert (code, errors) == (Exit.RUN_FAILED, "")
    events += [json.loads(rest[0])]
    log = [event for event in log_of(thread_id, ends(run_id)) if event["run_id"] == run_id]
    if strategy == "interrupt":
        assert events == log
    assert [event["sequence"] for event in events] == [event["sequence"] for event in log]
    (run,) = [json.loads(line)["run"] for line in rest[1:]]
    assert [(each["run_id"], each["status"]) for each in run.pop("superseded")] == [(held, "interrupted")]
    assert (run["run_id"], run["status"], run["superseded_by"]) == (run_id, left, second)
    if strategy == "interrupt":
        assert run == verbs.json("run", "get", run_id)
    else:
        assert run["input"] == {}
        assert run["end_time"] == events[-1]["time"]


def test_a_thread_that_is_deleted_ends_its_run(server: Server, verbs: Verbs, thread_id: str) -> None:
    with following(server, thread_id) as followed:
        verbs("thread", "delete", thread_id)
        assert followed.end() == (Exit.RUN_FAILED, ["ended  deleted  THREAD_DELETED"], "")


def test_joining_and_following_exclude_each_other(verbs: Verbs, thread_id: str) -> None:
    told = verbs("run", "create", thread_id, "talks", "--join", "--follow", code=Exit.INVALID).stderr
    assert "exclude" in told
    assert verbs("run", "list", thread_id, "--json").stdout == ""


# Ctrl-C


def the_run(verbs: Verbs, thread_id: str) -> str:
    run_id: str = json.loads(verbs("run", "list", thread_id, "--json").stdout)["run_id"]
    return run_id


@contextmanager
def asked(server: Server, thread_id: str) -> Iterator[Terminal]:
    """A run that is followed on a terminal, where Ctrl-C was typed and the question has come."""
    with terminal("run", "create", thread_id, "talks", *HOLD, "--follow", "--server", server.address) as followed:
        followed.until("holding")
        followed.type(CTRL_C)
        followed.until("[c]ancel the run, [r]oll it back, or [l]eave it running? [l]: ")
        yield followed


def test_ctrl_c_and_c_cancels_the_run(server: Server, verbs: Verbs, thread_id: str) -> None:
    with asked(server, thread_id) as followed:
        run_id = the_run(verbs, thread_id)
        followed.type("c\n")
        assert followed.end() == Exit.RUN_FAILED
    assert "ended  interrupted  CANCELLED" in followed.written
    assert verbs.json("run", "get", run_id)["status"] == "interrupted"
    assert verbs.json("thread", "state", thread_id)["values"]["done"] is True


def test_ctrl_c_and_r_rolls_the_run_back(server: Server, verbs: Verbs, thread_id: str) -> None:
    with asked(server, thread_id) as followed:
        followed.type("R\n")
        assert followed.end() == Exit.RUN_FAILED
    assert "ended  deleted  CANCELLED" in followed.written
    assert verbs.json("thread", "state", thread_id)["values"] == {}


@pytest.mark.parametrize("answer", ["l\n", "\n", CTRL_C, "\x04"], ids=["l", "Enter", "Ctrl-C", "Ctrl-D"])
def test_ctrl_c_and_anything_else_leaves_the_run(server: Server, verbs: Verbs, thread_id: str, answer: str) -> None:
    with asked(server, thread_id) as followed:
        run_id = the_run(verbs, thread_id)
        followed.type(answer)
        assert followed.end() == Exit.STOPPED
    assert "the run goes on" in followed.written
    assert "Traceback" not in followed.written
    assert verbs.json("run", "get", run_id)["status"] == "running"


def test_an_answer_that_is_none_is_asked_for_again(server: Server, verbs: Verbs, thread_id: str) -> None:
    with asked(server, thread_id) as followed:
        followed.type("quit\n")
        followed.until("'quit' is not one of")
        followed.type("c\n")
        assert followed.end() == Exit.RUN_FAILED


def test_a_run_that_ended_before_the_answer_keeps_its_end(server: Server, verbs: Verbs, thread_id: str) -> None:
    with asked(server, thread_id) as followed:
        second = verbs.json("run", "create", thread_id, "talks", "--strategy", "interrupt", "--join")["run"]["run_id"]
        followed.type("r\n")
        assert followed.end() == Exit.RUN_FAILED
    assert f"ended  interrupted  SUPERSEDED by {second}" in followed.written
    assert verbs.json("run", "get", second)["status"] == "success"


def test_nothing_that_others_wrote_colours_the_terminal(server: Server, thread_id: str) -> None:
    with asked(server, thread_id) as followed:
        followed.type("c\n")
        followed.end()
    assert "\\x1b[31msunny" in followed.written
    assert "\x1b[31m" not in followed.written


def test_ctrl_c_elsewhere_leaves_the_run_and_tells_how_to_get_back(
    server: Server, verbs: Verbs, thread_id: str
) -> None:
    with following(server, thread_id) as followed:
        followed.interrupt()
        code, lines, errors = followed.end()
    assert (code, lines) == (Exit.STOPPED, [])
    assert errors.startswith("the run goes on; ")  # and nothing was asked
    assert not ANSI.search(errors)
    join, cancel = [shlex.split(line)[1:] for line in errors.splitlines() if line.startswith("  doubletext ")]
    assert join[-2:] == ["--server", server.address]
    assert verbs.json(*join, "--wait", "0", code=Exit.NOT_FINAL)["run"]["status"] == "running"
    assert verbs.json(*cancel)["status"] == "interrupted"
