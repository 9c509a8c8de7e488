"""docs/strategies.md shows what happens: its drawings are made anew, from a real server, and compared."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_timelines_are_those_of_real_runs() -> None:
    command = [sys.executable, "scripts/strategies.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
