"""The healthy file, made once, and copies of it to be spoilt."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.ops.healthy_file import play

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The healthy file; not to be changed."""
    path = tmp_path_factory.mktemp("played") / "played.db"
    asyncio.run(play(path))
    return path


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    """A copy of the healthy file, for the test to spoil."""
    return Path(shutil.copy(played, tmp_path / "copy.db"))


def spoil(path: Path, script: str) -> None:
    """Change a file as no server would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        before = connection.total_changes
        connection.executescript(f"PRAGMA foreign_keys = OFF; {script}")
        assert connection.total_changes > before or "DROP" in script or "CREATE" in script, "it changed nothing"
