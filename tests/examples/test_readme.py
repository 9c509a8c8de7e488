"""Each code block that the pages show runs and does what the page says, or the page says why it is not run.

A comment before a block names it: `run` and a name, `shown` and the name of the run that prints the block, or `not run`
and the reason.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.server_process import process

ROOT: Final = Path(__file__).parents[2]
README: Final = "README.md"
INDEX: Final = "docs/index-page.md"
OPERATIONS: Final = "docs/operations.md"
PATH: Final = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
BLOCK: Final = re.compile(
    r"^(?:<!-- (run|shown|not run): ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


def block(page: str, name: str, kind: str = "run") -> str:
    """The one block of the page with that comment."""
    found: list[tuple[str, str, str, str]] = BLOCK.findall((ROOT / page).read_text())
    (code,) = [code for kind_of, name_of, _, code in found if (kind_of, name_of) == (kind, name)]
    return code


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": PATH, **more}


async def run(*command: str, cwd: Path = ROOT, **more: str) -> tuple[int, str]:
    """Exit code and output."""
    child = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(**more)
    )
    output, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, output.decode()


@asynccontextmanager
async def going(commands: str, cwd: Path, until: str) -> AsyncIterator[str]:
    """Run commands of which the last goes on: `doubletext serve` or `worker`. Yields its first line with `until`."""
    free = commands.replace("doubletext serve", "exec doubletext serve --listen 127.0.0.1:0")
    script = free.replace("doubletext worker", "exec doubletext worker")
    child = await asyncio.create_subprocess_exec(
        *("bash", "-ec", script),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
    )
    assert child.stdout is not None
    said: list[str] = []
    try:
        while until not in "".join(said[-1:]):
            said.append((await child.stdout.readline()).decode())
            assert said[-1], "".join(said)
        yield said[-1]
    finally:
        child.kill()
        await child.wait()


@pytest.mark.parametrize("page", [README, INDEX, OPERATIONS])
def test_each_block_is_run_or_says_why_not(page: str) -> None:
    found = BLOCK.findall((ROOT / page).read_text())
    assert [code for kind, _, language, code in found if not kind and language != "mermaid"] == []
    played = set(re.findall(r'block\(\w+, "([\w-]+)"\)', Path(__file__).read_text()))
    assert {name for kind, name, *_ in found if kind == "run"} <= played
    assert "<!-- run" not in BLOCK.sub("", (ROOT / page).read_text())  # a comment that has lost its block


@pytest.mark.skipif(
    shutil.which("grpcurl", path=PATH) is None,
    reason="grpcurl is missing: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
)
async def test_the_recipes_by_hand_show_what_they_say(tmp_path: Path) -> None:
    async with process(tmp_path / "readme.db") as server:

        async def shell(recipe: str) -> tuple[int, str]:
            recipe = recipe.replace("127.0.0.1:50051", server.address).replace("weather.svg", str(tmp_path / "w.svg"))
            return await run("bash", "-ec", recipe, DOUBLETEXT_SERVER=server.address)

        code, output = await shell(block(README, "first"))
        assert code == 0, output
        assert '"RUN_STATUS_PENDING"' in output
        code, output = await shell(block(README, "reject"))
        shown = block(README, "reject", "shown")
        assert code == 64 + 6  # grpcurl's way to say ALREADY_EXISTS
        assert re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", output) == re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", shown)
        code, output = await shell(block(README, "interrupt"))
        assert '"RUN_STATUS_INTERRUPTED"' in output
        assert code == 0, output
        code, output = await shell(block(README, "rollback"))
        assert '"RUN_STATUS_DELETED"' in output
        assert code == 0, output
        code, output = await shell(block(README, "enqueue"))
        assert '"queue_position": 1' in output
        assert code == 0, output
        code, output = await shell(block(README, "verbs"))
        assert code == 0, output
        assert "Rome" in output
        code, output = await shell(block(README, "state"))
        assert code == 0, output
        assert "nyc" not in output
        assert "and in dc?" in output
        code, output = await shell(block(README, "people"))
        assert code == 0, output
        assert "in Oslo" in output
        assert "ended  success" in output
        assert "superseded by" in (tmp_path / "w.svg").read_text()


@pytest.mark.parametrize("page", [README, INDEX])
async def test_the_first_program_prints_what_is_shown(page: str, tmp_path: Path) -> None:
    async with going(block(page, "serve"), tmp_path, "listening on ") as said:
        program = block(page, "two").replace("127.0.0.1:50051", said.split()[-1])
        code, output = await run(sys.executable, "-c", program)
    assert code == 0, output
    assert output == block(page, "two", "shown")


@pytest.mark.parametrize(("page", "answer"), [(README, "you asked: why?"), (INDEX, "found it")])
async def test_the_graph_of_ones_own_can_be_served(page: str, answer: str, tmp_path: Path) -> None:
    (tmp_path / "support.py").write_text(block(page, "graph"))
    async with going(block(page, "serve-graph"), tmp_path, "listening on ") as said:
        code, output = await run("bash", "-ec", block(page, "ask-graph"), DOUBLETEXT_SERVER=said.split()[-1])
    assert code == 0, output
    assert answer in output


async def test_a_worker_executes_the_graph_beside_a_server_without_it(tmp_path: Path) -> None:
    (tmp_path / "support.py").write_text(block(README, "graph"))
    async with process(tmp_path / "readme.db") as server:
        worker = block(README, "worker").replace("127.0.0.1:50051", server.address)
        async with going(worker, tmp_path, '"claiming"'):
            code, output = await run("bash", "-ec", block(README, "ask-graph"), DOUBLETEXT_SERVER=server.address)
    assert code == 0, output
    assert "you asked: why?" in output


async def test_a_backup_is_checked_and_restored(tmp_path: Path) -> None:
    async with process(tmp_path / "doubletext.db") as server:
        create = ("doubletext", "thread", "create", "kept")
        assert (await run(*create, DOUBLETEXT_SERVER=server.address))[0] == 0
        code, output = await run("bash", "-ec", block(OPERATIONS, "backup"), cwd=tmp_path)
        assert code == 0, output
        code, output = await run("bash", "-ec", block(OPERATIONS, "check"), cwd=tmp_path)
        assert (code, output) == (0, "ok: 1 thread, 0 runs, 0 steps, 0 events\n")
        later = ("doubletext", "thread", "create", "later")
        assert (await run(*later, DOUBLETEXT_SERVER=server.address))[0] == 0
    async with going(block(OPERATIONS, "restore"), tmp_path, "listening on ") as said:
        code, output = await run("doubletext", "thread", "list", "--json", DOUBLETEXT_SERVER=said.split()[-1])
    assert code == 0, output
    assert "kept" in output
    assert "later" not in output
