"""Which store a database is opened with."""

from doubletext_server.clock import Clock
from doubletext_server.store.protocol import Store
from doubletext_server.store.sqlite.store import SqliteStore


async def open_store(db: str, clock: Clock, mode: int) -> Store:
    """Open the SQLite file `db`, made if it is not there, until the store is closed. Raises schema.CannotOpen.

    mode: what others may do with the file at most
    """
    return await SqliteStore.open(db, clock, mode)
