"""Fixtures of all tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service import Service, serving


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "test.db") as running:
        yield running
