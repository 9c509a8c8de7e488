"""`serve` as a process: how it starts and stops, which graphs run, and what it says if it cannot."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

import pytest
from click.testing import Result

from doubletext.cli.exit_codes import Exit
from doubletext_server.store.sqlite.schema import lock_file, unlock_file
from tests.cli.command_line import ROOT, Server, Verbs, graphs, invoke, run, serving


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


def test_options_reach_the_server_and_ctrl_c_drains_it(server: Server, folder: Path) -> None:
    options = ("--metrics", "127.0.0.1:0", "--default-strategy", "reject")
    with serving(folder / "options.db", *options, *graphs(folder, "held")) as other:
        verbs = Verbs(other.address)
        verbs("run", "create", "t", "held", "--create-thread")
        verbs("run", "create", "t", "held", code=Exit.REFUSED)
        (address,) = metrics_in_the_log(other)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            assert b"doubletext_runs_in_flight" in answer.read()
        other.process.send_signal(signal.SIGINT)
        assert other.process.wait(timeout=30) == 0
        assert other.process.stdout is not None
        assert other.process.stdout.read() == ""
    assert "Traceback" not in Path(f"{other.db}.log").read_text()
    assert metrics_in_the_log(server) == [], "nobody has asked for them there"


def metrics_in_the_log(server: Server) -> list[str]:
    lines = map(json.loads, Path(f"{server.db}.log").read_text().splitlines())
    return [line["address"] for line in lines if line["event"] == "metrics"]


def refused(*arguments: str) -> str:
    """What `serve` says when it does not start: the last line of stderr."""
    return said_of(invoke("serve", *arguments))


def said_of(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (1, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", "--listen", address, "--db", str(tmp_path / "a.db"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"Error: cannot listen on {address}: ")


def test_a_second_server_on_the_same_port_does_not_start(server: Server, tmp_path: Path) -> None:
    said = refused("--listen", server.address, "--db", str(tmp_path / "a.db"))
    assert said.startswith(f"cannot listen on {server.address}: ")


def test_a_metrics_port_that_is_taken_is_named(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused("--listen", "127.0.0.1:0", "--metrics", address, "--db", db)
    assert said.startswith(f"cannot listen on {address}: ")
    assert said.endswith("choose another --metrics HOST:PORT")
    said = refused("--listen", "127.0.0.1:0", "--metrics", "9464", "--db", db)
    assert said.startswith("cannot listen on 9464: HOST:PORT is wanted")


def test_a_database_in_use_is_named(server: Server) -> None:
    said = refused("--listen", "127.0.0.1:0", "--db", str(server.db))
    assert said.startswith(f"the database {server.db} is in use by another server (process {server.process.pid}); ")
    assert Verbs(server.address)("thread", "create").exit_code == 0


def test_a_database_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("nothing of the kind, and long enough to have been a header of a file of SQLite's")
    assert str(other) in refused("--listen", "127.0.0.1:0", "--db", str(other))
    assert str(tmp_path) in refused("--listen", "127.0.0.1:0", "--db", str(tmp_path))


def test_a_server_that_did_not_start_lets_go_of_its_database(server: Server, tmp_path: Path) -> None:
    refused("--listen", server.address, "--db", str(tmp_path / "a.db"))
    unlock_file(lock_file(str(tmp_path / "a.db")))


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
    code = "import doubletext.loading, sys; doubletext.loading.load([sys.argv[1]]); import json; json.dumps"
    value = f"{folder}/names/json.py:mine"
    python = [sys.executable, "-c", code, value]
    assert subprocess.run(python, cwd=ROOT, stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_address_without_a_proper_port_is_refused(tmp_path: Path, listen: str) -> None:
    assert listen in refused("--listen", listen, "--db", str(tmp_path / "a.db"))


@pytest.mark.parametrize("db", [":memory:", "file:a?mode=memory"])
def test_a_database_that_would_be_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert db in refused("--listen", "127.0.0.1:0", "--db", db)
    assert list(tmp_path.iterdir()) == []


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
