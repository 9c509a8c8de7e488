"""The worker in Node.js, as a process, on a server that is one too."""

import shutil
from pathlib import Path

import pytest

from tests.examples import scenarios

pytestmark = [
    pytest.mark.skipif(
        shutil.which("node") is None or shutil.which("npm") is None,
        reason="node or npm is missing: install Node.js 20.3 or newer, from nodejs.org or your system's packages",
    ),
    pytest.mark.timeout(60, func_only=True),  # not counting what the fixtures install
]


async def test_it_stops_when_interrupted_and_keeps_what_was_committed(node_worker: list[str], tmp_path: Path) -> None:
    await scenarios.stops_when_interrupted(node_worker, tmp_path / "node.db")


async def test_it_takes_up_what_is_said(node_worker: list[str], tmp_path: Path) -> None:
    await scenarios.takes_up_what_is_said(node_worker, tmp_path / "node.db")


async def test_it_hands_back_its_run_on_sigterm(node_worker: list[str], tmp_path: Path) -> None:
    await scenarios.hands_back_on_sigterm(node_worker, tmp_path / "node.db")


async def test_it_outlives_its_server(node_worker: list[str], tmp_path: Path) -> None:
    await scenarios.outlives_its_server(node_worker, tmp_path / "node.db")


async def test_it_tells_why_its_graph_failed(node_worker: list[str], tmp_path: Path) -> None:
    await scenarios.tells_why_its_graph_failed(node_worker, tmp_path / "node.db")
