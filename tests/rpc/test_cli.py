"""The command line: `serve` and `demo` as processes, the client verbs against one server that all tests share."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.errors import STATUS_OF
from server.store.schema import own
from server.verbs import EXIT_OF, MEANING, Exit
from statemachine.errors import NotYet

ROOT: Final = Path(__file__).parents[2]
ANSI: Final = re.compile(r"\x1b")

# `held` waits for ever unless the environment says otherwise; `mine` says what the file beside it says.
GRAPHS: Final = """
import asyncio, os
from doubletext import graph
from beside import WORD

@graph
async def held(ctx):
    yield {"messages": [{"role": "assistant", "content": "so far"}]}
    if "LET_GO" not in os.environ:
        await asyncio.Event().wait()

@graph
async def mine(ctx):
    return {"messages": [{"role": "assistant", "content": WORD}]}

@graph
async def fails(ctx):
    raise LookupError("no such weather")

async def plain(ctx):
    return {"plain": True}

number = 5
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "server", *arguments]


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Server:
    process: "subprocess.Popen[str]"
    address: str
    db: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=4)


@contextmanager
def serving(db: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """`doubletext serve` as a process of its own, whose log goes to a file beside the database."""
    with open(f"{db}.log", "a") as log:
        process = subprocess.Popen(
            command("serve", "--listen", "127.0.0.1:0", "--db", str(db), *arguments),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    with process:
        try:
            yield Server(process, listening(process.stdout), db)
        finally:
            process.kill()


def listening(stdout: IO[str]) -> str:
    """The address in the one line that a server prints."""
    line = stdout.readline()
    found = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", line)
    assert found, line
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    (made / "graphs.py").write_text(GRAPHS)
    (made / "beside.py").write_text("WORD = 'from the file beside'\n")
    return made


def graphs(folder: Path, *names: str) -> list[str]:
    return [text for name in names for text in ("--graphs", f"{folder / 'graphs.py'}:{name}")]


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder / "shared.db", *graphs(folder, "held", "mine", "fails", "plain")) as running:
        yield running
        assert running.stop() == 0


@dataclass
class Verbs:
    """The client verbs, in the test's process."""

    address: str

    def __call__(self, *arguments: str, code: Exit = Exit.DONE, stdin: str | None = None) -> Result:
        environment = {"DOUBLETEXT_SERVER": self.address}
        result = CliRunner().invoke(main, arguments, env=environment, input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        assert not ANSI.search(result.output)
        return result

    def json(self, *arguments: str, code: Exit = Exit.DONE, stdin: str | None = None) -> Any:
        result = self(*arguments, "--json", code=code, stdin=stdin)
        assert result.stderr == ""
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)

    def error(self, *arguments: str, code: Exit) -> dict[str, Any]:
        """The error, as JSON; as text it must be one line that says the same."""
        result = self(*arguments, "--json", code=code)
        assert result.stdout == ""
        error: dict[str, Any] = json.loads(result.stderr)["error"]
        plain = self(*arguments, code=code)
        assert plain.stdout == ""
        assert plain.stderr == f"error: {error['message']} ({error['reason'] or error['code']})\n"
        return error


@pytest.fixture
def verbs(server: Server) -> Verbs:
    return Verbs(server.address)


@pytest.fixture
def thread_id(verbs: Verbs) -> str:
    found: str = verbs.json("thread", "create")["thread_id"]
    return found


@pytest.fixture
def held(verbs: Verbs, thread_id: str) -> str:
    """A run on the thread that is at work, and stays so."""
    created = verbs.json("run", "create", thread_id, "held", "--message", "hold on")["run_id"]
    while verbs("run", "join", created, "--wait", "0.02", "--json", code=Exit.NOT_FINAL).stdout.count("so far") == 0:
        pass
    return str(created)


# serve


def test_a_stopped_server_hands_its_run_back_and_the_next_one_finishes_it(folder: Path) -> None:
    db = folder / "handed-back.db"
    with serving(db, *graphs(folder, "held")) as first:
        verbs = Verbs(first.address)
        verbs("thread", "create", "t")
        created = verbs.json("run", "create", "t", "held", "--message", "hello")["run_id"]
        while "so far" not in verbs("run", "join", created, "--wait", "0.02", code=Exit.NOT_FINAL).stdout:
            pass
        assert first.stop() == 0
        assert first.process.stdout is not None
        assert first.process.stdout.read() == ""

    with serving(db) as without:  # no graph `held`: the run stays as it was left
        left = Verbs(without.address).json("run", "get", created)
        assert (left["status"], left["reason"], left["attempt"]) == ("pending", "RELEASED", 0)
        assert without.stop() == 0

    with serving(db, *graphs(folder, "held"), LET_GO="1") as second:
        joined = Verbs(second.address).json("run", "join", created)
        assert joined["run"]["status"] == "success"
        assert second.stop() == 0


def test_ctrl_c_drains_too(folder: Path) -> None:
    with serving(folder / "interrupted.db") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=4) == 0
    assert "Traceback" not in Path(f"{server.db}.log").read_text()


def refused(*arguments: str) -> str:
    """What `serve` says when it does not start: an error without a traceback, the last line of stderr."""
    result = run("serve", *arguments)
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused("--listen", address, "--db", str(tmp_path / "a.db"))
    assert said.startswith(f"cannot listen on {address}: ")


def test_a_second_server_on_the_same_port_does_not_start(server: Server, tmp_path: Path) -> None:
    said = refused("--listen", server.address, "--db", str(tmp_path / "a.db"))
    assert said.startswith(f"cannot listen on {server.address}: ")


def test_a_database_in_use_is_named(server: Server) -> None:
    said = refused("--listen", "127.0.0.1:0", "--db", str(server.db))
    assert said.startswith(f"the database {server.db} is in use by another server; ")
    assert Verbs(server.address)("thread", "create").exit_code == 0


def test_a_database_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("nothing of the kind, and long enough to have been a header of a file of SQLite's")
    assert str(other) in refused("--listen", "127.0.0.1:0", "--db", str(other))
    assert str(tmp_path) in refused("--listen", "127.0.0.1:0", "--db", str(tmp_path))


def test_a_server_that_did_not_start_lets_go_of_its_database(server: Server, tmp_path: Path) -> None:
    refused("--listen", server.address, "--db", str(tmp_path / "a.db"))
    os.close(own(str(tmp_path / "a.db")))


BAD_GRAPHS: Final = {
    "no.such.module:mine": "cannot import no.such.module: ModuleNotFoundError",
    "{folder}/nowhere.py:mine": "cannot import {folder}/nowhere.py: FileNotFoundError",
    "{folder}/graphs.py:nobody": "nobody is not there",
    "{folder}/graphs.py:number": "number is no graph",
    "{folder}/graphs.py": "MODULE_OR_FILE:NAME is wanted",
    "{folder}/broken.py:mine": "cannot import {folder}/broken.py: ZeroDivisionError: division by zero",
    "{folder}/syntax.py:mine": "cannot import {folder}/syntax.py: SyntaxError",
}


@pytest.mark.parametrize("value", BAD_GRAPHS)
def test_a_graph_that_cannot_be_had_is_named_with_the_reason(folder: Path, value: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "syntax.py").write_text("def x(:\n")
    named, reason = value.format(folder=folder), BAD_GRAPHS[value].format(folder=folder)
    db = folder / "unused.db"
    said = refused("--listen", "127.0.0.1:0", "--db", str(db), "--graphs", named)
    assert said.startswith(f"--graphs {named}: {reason}")
    assert not db.exists()


def test_a_graphs_file_that_exits_is_named(folder: Path) -> None:
    (folder / "exits.py").write_text("import sys; sys.exit(3)\n")
    assert "exits.py" in refused("--listen", "127.0.0.1:0", "--db", "x.db", "--graphs", f"{folder}/exits.py:mine")


def test_a_graphs_file_may_have_the_name_of_a_module(folder: Path) -> None:
    (folder / "names").mkdir()
    (folder / "names" / "json.py").write_text("from doubletext import graph\n@graph\nasync def mine(ctx): pass\n")
    code = "import server.graphs, sys; server.graphs.load([sys.argv[1]]); import json; json.dumps"
    value = f"{folder}/names/json.py:mine"
    python = [sys.executable, "-c", code, value]
    assert subprocess.run(python, cwd=ROOT, stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_address_without_a_proper_port_is_refused(tmp_path: Path, listen: str) -> None:
    process = subprocess.Popen(
        command("serve", "--listen", listen, "--db", str(tmp_path / "a.db")),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert line == ""


@pytest.mark.parametrize("db", [":memory:", "file:a?mode=memory"])
def test_a_database_that_would_be_no_file_is_refused(tmp_path: Path, db: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "server", "serve", "--listen", "127.0.0.1:0", "--db", db],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("graph", "answer"),
    [("mine", "from the file beside"), ("agent", "San Francisco"), ("echo", "what's the weather in sf?")],
)
def test_graphs_of_a_file_run_beside_the_built_in_ones(verbs: Verbs, thread_id: str, graph: str, answer: str) -> None:
    question = "what's the weather in sf?"
    joined = verbs.json("run", "create", thread_id, graph, "--message", question, "--join")
    assert answer in joined["state"]["values"]["messages"][-1]["content"]


def test_a_plain_async_function_is_a_graph_too(verbs: Verbs, thread_id: str) -> None:
    assert verbs.json("run", "create", thread_id, "plain", "--join")["state"]["values"] == {"plain": True}


def test_the_default_strategy_of_the_server_is_as_given(folder: Path) -> None:
    with serving(folder / "rejecting.db", "--default-strategy", "reject", *graphs(folder, "held")) as server:
        verbs = Verbs(server.address)
        verbs("run", "create", "t", "held", "--create-thread")
        verbs("run", "create", "t", "held", code=Exit.REFUSED)
        assert server.stop() == 0


# The verbs


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


# Exit codes


def test_a_run_that_ends_otherwise_is_exit_1(verbs: Verbs, thread_id: str, held: str) -> None:
    verbs("run", "cancel", held)
    assert verbs.json("run", "join", held, code=Exit.ENDED_OTHERWISE)["run"]["status"] == "interrupted"
    told = verbs("run", "create", thread_id, "fails", "--join", code=Exit.ENDED_OTHERWISE).stdout
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
    codes = {code for kind, (code, _) in STATUS_OF.items() if kind is not NotYet}
    assert codes <= set(EXIT_OF)


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


# demo


def test_the_demo_plays_all_four_strategies() -> None:
    played = run("demo")
    assert played.returncode == 0, played.stderr
    for strategy in ("reject", "interrupt", "rollback", "enqueue"):
        assert re.search(rf"^{strategy}: ", played.stdout, re.MULTILINE), strategy
    assert "ALREADY_EXISTS THREAD_BUSY" in played.stdout
    assert "NOT_FOUND RUN_ROLLED_BACK" in played.stdout
    assert "All four did what they promise." in played.stdout
    assert not ANSI.search(played.stdout)
