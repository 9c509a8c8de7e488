"""A server that ends while it brings an older file up to date: killed, or by a power failure, at one write or sync.

The file is of the old version then, or of the new one, and has everything it had.
"""

import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from doubletext_server.store.sqlite import schema
from tests.robustness.failpoints.points import Launcher, Point
from tests.robustness.failpoints.trial import plain
from tests.robustness.validate.after_crash import unsound
from tests.support.database_files import a_file_of_version_6, query

POINTS: Final = (("write", "kill", 12), ("write", "mixed", 12), ("sync", "lost", 1))
"""Kinds and modes, and how far one point is from the next."""

KEPT: Final = (
    "SELECT thread_id, create_time, metadata, default_strategy, max_queued_runs FROM threads",
    "SELECT run_id, thread_id, sequence, strategy, create_time, due_time, timeout, input, metadata FROM runs",
    "SELECT thread_id, step, run_id, create_time, reducers, body FROM steps",
    "SELECT run_id, thread_id, superseded_by, reason, create_time, delete_time FROM tombstones",
    "SELECT thread_id, request_id, run_id, digest, create_time FROM requests",
    *(f"SELECT * FROM {table}" for table in ("thread_labels", "run_labels")),
)
"""What no migration changes."""


def kept(db: Path) -> list[list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(db)) as connection:
        return [sorted(connection.execute(query), key=repr) for query in KEPT]


def copied(db: Path) -> Path:
    """A copy to look into: reading a file that was left in the middle of a change repairs it."""
    return Path(shutil.copytree(db.parent, db.parent.with_suffix(".copy"))) / db.name


def old_file(folder: Path) -> Path:
    folder.mkdir()
    a_file_of_version_6(folder / "old.db")
    return folder / "old.db"


async def served(servers: Launcher, db: Path, point: Point | None = None) -> dict[str, int] | None:
    """Let a server open the file, and stop it. What it counted; None when it ended at the point."""
    order = plain(db)
    if point is not None:
        order = replace(order, kind=point.kind, mode=point.mode, at=point.at)
    async with servers.server(order) as server:
        if await server.start():
            await server.end(signal.SIGTERM)
        return server.counts


@pytest.mark.timeout(300)
async def test_a_server_that_ends_in_the_middle_of_a_migration_loses_nothing(servers: Launcher, tmp_path: Path) -> None:
    for kind, mode, step in POINTS:
        versions = []
        for at in count(1, step):
            db = old_file(tmp_path / f"{kind}{mode}{at}")
            held = kept(db)
            assert await served(servers, db, Point(kind, mode, at)) is None, "it did not end there"
            copy = copied(db)
            assert kept(copy) == held
            versions.append(query(copy, "PRAGMA user_version"))
            assert await served(servers, db) is not None
            assert unsound(db) == []
            if versions[-1] == len(schema.MIGRATIONS):
                break
        assert versions[0] == 6
