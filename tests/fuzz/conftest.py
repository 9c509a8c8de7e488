"""The scene of bad input, on which a good request of each RPC is good; and no error in the log, whatever comes."""

from collections.abc import AsyncIterator

import pytest

from tests.fuzz.wire import Wire
from tests.quiet import nothing_failed
from tests.rpc.conftest import scene
from tests.rpc.scene import Scene

__all__ = ["nothing_failed", "scene"]


@pytest.fixture
async def wire(scene: Scene) -> AsyncIterator[Wire]:
    """A connection to the scene's server."""
    opened = await Wire.open(scene.service.app.address)
    yield opened
    await opened.close()
