"""The scene of bad input, on which a good request of each RPC is good; and no error in the log, whatever comes."""

from collections.abc import AsyncIterator

import pytest

from tests.support.no_errors import nothing_failed
from tests.support.requests import Scene, scene
from tests.support.wire import Wire

__all__ = ["nothing_failed", "scene"]


@pytest.fixture
async def wire(scene: Scene) -> AsyncIterator[Wire]:
    """A connection to the scene's server."""
    opened = await Wire.open(scene.service.app.address)
    yield opened
    await opened.close()
