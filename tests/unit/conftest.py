"""A thread to play on."""

import pytest

from tests.unit.play import Play


@pytest.fixture
def play() -> Play:
    return Play()
