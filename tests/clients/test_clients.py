"""Clients in other languages: what is generated from the protos compiles, and a program that calls through it too."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL_IS_MISSING = 77


@pytest.mark.parametrize("language", ["python", "typescript", "go", "java"])
@pytest.mark.timeout(300)
def test_a_client_is_generated_and_compiles(language: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts/gen_clients", language],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == TOOL_IS_MISSING:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
