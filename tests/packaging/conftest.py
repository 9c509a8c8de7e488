"""Fixtures of these tests: the distributions, built once; the wheel, installed once."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    ROOT / "doubletext",
    ROOT / "server/doubletext_server",
    ROOT / "statemachine/doubletext_statemachine",
)
STRANGERS: Final = ("server.py", "statemachine.py", "json.py")
"""Files that any project may have, and that must not be taken for modules of ours or of Python's."""
GRAPHS: Final = """
from doubletext import graph

@graph
async def mine(ctx):
    return {"messages": [{"role": "assistant", "content": "of the current folder"}]}
"""


@dataclass
class Distributions:
    wheel: Path
    sdist: Path

    def contents(self) -> dict[str, bytes]:
        """The wheel's files."""
        with zipfile.ZipFile(self.wheel) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}


def run(*arguments: str, cwd: Path = ROOT) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ran = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(source: Path, target: Path) -> Distributions:
    run(sys.executable, "-m", "hatchling", "build", "--directory", str(target), cwd=source)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return Distributions(wheel, sdist)


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@dataclass
class Installed:
    """The commands of a clean environment, run in a folder of strangers. `folder` has agents.py, too."""

    bin: Path
    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(self.bin / "doubletext"), *arguments]

    def __call__(self, *arguments: str) -> str:
        return run(*self.command(*arguments), cwd=self.folder)


@pytest.fixture(scope="package")
def installed(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with its extra `server`, in the locked versions, beside a package that has a module `statemachine`."""
    place = tmp_path_factory.mktemp("installed")
    folder = place / "folder"
    folder.mkdir()
    for name in STRANGERS:
        (folder / name).write_text(f"raise RuntimeError('{name} of the current folder was imported')\n")
    (folder / "agents.py").write_text(GRAPHS)
    locked = place / "locked.txt"
    locked.write_text("\n".join(re.findall(r"^[\w.-]+==[^ \\]+", (ROOT / "requirements.lock").read_text(), re.M)))
    venv.create(place / "venv", with_pip=False)
    python = place / "venv/bin/python"
    wanted = (f"doubletext[server] @ {built.wheel.as_uri()}", "python-statemachine==3.2.2")
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-compile", "--constraint", str(locked), *wanted)
    return Installed(python.parent, folder)
