"""The README's recipes and examples do what it says they do."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.process import process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def blocks(language: str, section: str) -> list[str]:
    """The code blocks of a language in a section."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0] if section else README.split("\n## ")[0]
    return [code for fence, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if fence == language]


async def run(*command: str, cwd: Path = ROOT, **environment: str) -> tuple[int, str]:
    """Exit code and output."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": PATH, **environment},
    )
    output, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, output.decode()


@pytest.mark.skipif(
    shutil.which("grpcurl", path=PATH) is None,
    reason="grpcurl is missing: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
)
async def test_the_recipes_by_hand_show_what_they_say(tmp_path: Path) -> None:
    recipes = blocks("sh", "By hand")
    first, reject, interrupt, rollback, enqueue, state, verbs, people = recipes
    async with process(tmp_path / "readme.db") as server:

        async def shell(recipe: str) -> tuple[int, str]:
            recipe = recipe.replace("127.0.0.1:50051", server.address).replace("weather.svg", str(tmp_path / "w.svg"))
            return await run("bash", "-ec", recipe, DOUBLETEXT_SERVER=server.address)

        code, output = await shell(first)
        assert code == 0, output
        code, output = await shell(reject)
        shown = blocks("", "By hand")[0]
        assert code == 64 + 6  # grpcurl's way to say ALREADY_EXISTS
        assert re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", output) == re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", shown)
        code, output = await shell(interrupt)
        assert '"RUN_STATUS_INTERRUPTED"' in output
        assert code == 0, output
        code, output = await shell(rollback)
        assert '"RUN_STATUS_DELETED"' in output
        assert code == 0, output
        code, output = await shell(enqueue)
        assert '"queue_position": 1' in output
        assert code == 0, output
        code, output = await shell(verbs)
        assert code == 0, output
        assert "Rome" in output
        code, output = await shell(state)
        assert code == 0, output
        assert "nyc" not in output
        assert "and in dc?" in output
        code, output = await shell(people)
        assert code == 0, output
        assert "in Oslo" in output
        assert "ended  success" in output
        assert "superseded by" in (tmp_path / "w.svg").read_text()


async def test_the_example_prints_the_weather_of_the_second_question(tmp_path: Path) -> None:
    async with process(tmp_path / "readme.db") as server:
        (example,) = blocks("python", "")
        code, output = await run(sys.executable, "-c", example.replace("127.0.0.1:50051", server.address))
    assert code == 0, output
    assert re.fullmatch(r"It is .* °C in New York City\.\n", output), output


async def test_the_graph_of_ones_own_can_be_served(tmp_path: Path) -> None:
    (source,) = blocks("python", "Your own graphs")
    (tmp_path / "support.py").write_text(source)
    async with process(tmp_path / "readme.db", "--graphs", f"{tmp_path / 'support.py'}:support") as server:
        command = ("run", "create", "t", "support", "--message", "why?", "--create-thread", "--join")
        code, output = await run("doubletext", *command, DOUBLETEXT_SERVER=server.address)
    assert code == 0, output
    assert "you asked: why?" in output


def test_every_file_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
