"""The write-ahead log: emptied once nothing was written for a while, and a warning when somebody keeps it growing.

SQLite itself goes back to the log's beginning only when nobody reads what is in it. A program that reads the file in
one long transaction, such as a monitoring query or a shell that was left open, makes it grow for as long as that lasts.
"""

import asyncio
import os
import sqlite3
from typing import Final

import structlog

from doubletext_server.store.sqlite.lane import Lane

IDLE: Final = 5.0
"""Seconds without a write."""

LARGE: Final = 64 * 1024 * 1024
"""Bytes. Without such a reader it has some 4 MB."""

log = structlog.get_logger("store")


class WriteAheadLog:
    def __init__(self, database: str, writer: Lane) -> None:
        self._path = f"{database}-wal"
        self._writer = writer
        self._timer: asyncio.TimerHandle | None = None
        self._emptying: asyncio.Task[None] | None = None
        self._written = False
        self._warned = False

    def written(self) -> None:
        """Take note of a commit."""
        self._written = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return
        self._warn(size)
        if self._written:
            self._written = False
            self._timer = asyncio.get_running_loop().call_later(IDLE, self._look)
        elif size:
            self._emptying = asyncio.create_task(self._empty())

    def _warn(self, size: int) -> None:
        if size > LARGE and not self._warned:
            log.warning(
                "somebody reads the database in a long transaction, and the log grows until that ends",
                log=self._path,
                bytes=size,
            )
        self._warned = size > LARGE

    async def _empty(self) -> None:
        try:
            await self._writer.between_batches(_checkpoint)
        except sqlite3.Error as error:  # the next pause tries again
            log.warning("the log was not emptied", log=self._path, error=str(error))

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._emptying is not None:
            await asyncio.wait([self._emptying])


def _checkpoint(connection: sqlite3.Connection) -> None:
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # it waits for no reader
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
