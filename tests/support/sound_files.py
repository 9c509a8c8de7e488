"""That what a test leaves on disk is sound, by `check`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from doubletext_server.store.check import check


@pytest.fixture(autouse=True)
def files_are_sound(tmp_path: Path) -> Iterator[None]:
    """Once the server has stopped, for a check must not come from the process that serves the file."""
    yield
    for file in tmp_path.glob("*.db"):
        assert list(check(str(file)).lines()) == []
