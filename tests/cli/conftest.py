"""A `serve` process for each file of tests of the command line, and what they ask of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubletext.cli.exit_codes import Exit
from tests.cli.command_line import GRAPHS, Server, Verbs, graphs, serving
from tests.support.healthy_file import copy, played

__all__ = ["copy", "played"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    (made / "graphs.py").write_text(GRAPHS)
    (made / "beside.py").write_text("WORD = 'from the file beside'\n")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder / "shared.db", *graphs(folder, "held", "mine", "fails", "plain")) as running:
        yield running
        assert running.stop() == 0


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
