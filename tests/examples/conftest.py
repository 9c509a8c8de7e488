"""The examples, installed or built once for all tests, in a copy that leaves the checkout as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples are made from, laid out as in the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    made = shutil.ignore_patterns("node_modules", "gen", "service_config.json")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=made)
    shutil.copytree(ROOT / "protos", folder / "protos")
    return folder


@pytest.fixture(scope="session")
def node_worker(copy: Path) -> list[str]:
    """The command that starts the Node.js worker."""
    folder = copy / "examples/node-worker"
    make("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", folder=folder)
    return ["node", str(folder / "worker.js")]


@pytest.fixture(scope="session")
def go_programs(copy: Path) -> Path:
    """The folder with the Go programs `client` and `worker`."""
    folder = copy / "examples/go-client"
    make("./generate.sh", folder=folder)
    make("go", "vet", "./...", folder=folder)
    make("go", "build", "-o", "bin/", "./cmd/...", folder=folder)
    return folder / "bin"


def make(*command: str, folder: Path) -> None:
    path = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])  # where buf is
    environment = {**os.environ, "PATH": path, "GOFLAGS": "-trimpath"}  # without paths, one build serves all folders
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
