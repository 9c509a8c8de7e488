"""The contracts of pyproject.toml between packages cover every module, and an import against them is found."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PLANTED: Final = {
    "the rules know the server": ("statemachine/doubletext_statemachine/queue.py", "doubletext_server.clock"),
    "a store knows the engine": ("server/doubletext_server/store/rows.py", "doubletext_server.engine.waiting"),
    "the engine knows one store": ("server/doubletext_server/engine/waiting.py", "doubletext_server.store.sqlite.lane"),
    "a use case knows a face": ("server/doubletext_server/usecases/digests.py", "doubletext_server.grpc.errors"),
    "the client knows the server": ("doubletext/types.py", "doubletext_server.clock"),
}


def lint(root: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("lint-imports")
    path = f"{root}:{root / 'server'}:{root / 'statemachine'}"
    return subprocess.run(
        [program, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layers")
    for name in ("doubletext", "server", "statemachine"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.mark.parametrize(("file", "module"), PLANTED.values(), ids=PLANTED)
def test_an_import_against_the_layers_is_found(copy: Path, file: str, module: str) -> None:
    sound = (copy / file).read_text()
    (copy / file).write_text(f"{sound}\nimport {module}\n")
    try:
        found = lint(copy)
    finally:
        (copy / file).write_text(sound)
    assert found.returncode == 1, found.stdout + found.stderr
    assert module in found.stdout


def test_every_module_of_the_server_is_in_a_layer() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in config["contracts"] if contract["type"] == "layers"]
    named = {name for layer in layers for name in re.split(r"\s*\|\s*", layer)}
    package = ROOT / "server" / "doubletext_server"
    there = {
        f"doubletext_server.{path.stem}" for path in package.iterdir() if path.stem not in ("__init__", "__pycache__")
    }
    assert named == there | {"doubletext_statemachine"}
