"""The healthy file, and what spoils a copy of it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.support.healthy_file import copy, played

__all__ = ["copy", "played"]

ROOT: Final = Path(__file__).parents[2]


def spoil(path: Path, script: str) -> None:
    """Change a file as no server would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        before = connection.total_changes
        connection.executescript(f"PRAGMA foreign_keys = OFF; {script}")
        assert connection.total_changes > before or "DROP" in script or "CREATE" in script, "it changed nothing"
