"""The write-ahead log: emptied when nothing is written, and told of when a reader from outside makes it grow."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from doubletext_server.store.sqlite import wal
from tests.support.store import SqliteHand


def size(hand: SqliteHand) -> int:
    return Path(f"{hand.path}-wal").stat().st_size


async def emptied(hand: SqliteHand) -> None:
    async with asyncio.timeout(20):
        while size(hand):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)


async def test_the_log_is_emptied_once_nothing_is_written(sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "IDLE", 0.05)
    await sqlite.create("t")
    assert size(sqlite) > 0
    await emptied(sqlite)
    await sqlite.create("u")
    assert (await sqlite.store.thread("u")).thread.thread_id == "u"


async def test_a_reader_from_outside_is_told_of_once_and_holds_up_nobody(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "IDLE", 0.05)
    monkeypatch.setattr(wal, "LARGE", 1000)
    with capture_logs() as logs, closing(sqlite3.connect(sqlite.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM threads").fetchone()
        for name in "abc":
            await sqlite.create(name)
            await asyncio.sleep(0.1)
        assert [entry["bytes"] > 1000 for entry in logs if "long transaction" in entry["event"]] == [True]
        reader.execute("COMMIT")
        await sqlite.create("d")
        await emptied(sqlite)
