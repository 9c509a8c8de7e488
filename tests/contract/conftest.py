"""The stores that are held to doubletext_server.store.protocol.

A store that is added to IMPLEMENTATIONS is held to every test that takes a `hand`. Those that take `sqlite` are
asked of the one on SQLite besides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.clock import Clock
from doubletext_server.store.protocol import Store
from doubletext_server.store.sqlite.store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.database_files import make_new
from tests.support.store import Hand, SqliteHand, dealt

IMPLEMENTATIONS: Final[dict[str, Callable[[str, Clock], Awaitable[Store]]]] = {"sqlite": SqliteStore.open}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture(params=list(IMPLEMENTATIONS))
async def hand(request: pytest.FixtureRequest, path: Path, clock: ManualClock) -> AsyncIterator[Hand]:
    """An empty store with the assistant `a`, of each implementation."""
    make_new(path)
    hand = await dealt(path, clock, IMPLEMENTATIONS[request.param])
    yield hand
    await hand.store.close()


@pytest.fixture
async def sqlite(path: Path, clock: ManualClock) -> AsyncIterator[SqliteHand]:
    make_new(path)
    dealt_hand = await dealt(path, clock, SqliteStore.open)
    hand = SqliteHand(dealt_hand.store, path, clock, dealt_hand.assistant)
    yield hand
    if hand.sqlite.writer.is_open:
        await hand.store.close()
