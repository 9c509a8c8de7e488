"""Files of each earlier version, as a server of that version left them, and what becomes of what they hold."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.protocol import RunRecord
from doubletext_server.store.sqlite import schema
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.model import StoppingAttempt
from doubletext_statemachine.words import Reason
from tests.contract.conftest import GRACE, LEASE, SECOND, ManualClock, S
from tests.contract.files import query

NOW: Final = ManualClock.now
# On `t` the run `r` is running and has made a step; on `u` the run `s` was interrupted by `n`, and is awaited.
VERSION_1: Final = f"""
    INSERT INTO assistants VALUES (1, 'a', 'g', 1, '{{}}', '{{}}', '{{"messages":"messages"}}', 3, {GRACE}, NULL, NULL);
    INSERT INTO threads VALUES
        ('t', 1, 2, '{{}}', NULL, NULL, 1, 2, 4, NULL, NULL, NULL),
        ('u', 1, {NOW}, '{{}}', 'interrupt', 9, 2, 1, 5, 's', 1, {NOW + SECOND});
    INSERT INTO runs VALUES
        ('r', 't', 1, 1, 'enqueue', 1, 1, NULL, 'running', 1, 1, 2, NULL, 0, 2, NULL, NULL, NULL, NULL,
            '{{"i":1}}', '{{"m":1}}'),
        ('s', 'u', 1, 1, 'enqueue', 1, 1, NULL, 'interrupted', 1, 1, 2, {NOW}, 0, 1, NULL, NULL, 'n', 'SUPERSEDED',
            '{{}}', '{{}}'),
        ('n', 'u', 2, 1, 'interrupt', {NOW}, {NOW}, NULL, 'pending', 0, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL,
            '{{}}', '{{}}');
    INSERT INTO steps VALUES ('t', 1, 'r', 2, NULL, '{{"i":1}}'), ('t', 2, 'r', 2, NULL, '{{"s":2}}');
    INSERT INTO steps VALUES ('u', 1, 's', 2, NULL, '{{}}');
"""


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """Opened on a file of version 1."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA application_id = {schema.APPLICATION_ID}; {schema.MIGRATIONS[0]}; {VERSION_1}"
            "PRAGMA user_version = 1; PRAGMA journal_mode = WAL;"
        )
    store = await SqliteStore.open(str(path), clock)
    yield store
    await store.close()


async def test_a_file_of_version_1_opens_with_what_ran_and_what_was_awaited(
    store: SqliteStore, path: Path, clock: ManualClock
) -> None:
    assert query(path, "PRAGMA user_version") == len(schema.MIGRATIONS)
    record = await store.run("r")
    assert isinstance(record, RunRecord)
    assert (record.run.status, record.run.epoch, record.run.last_step) == (S.RUNNING, 1, 2)
    assert (record.run.worker_id, record.run.lease_expires, record.run.outcome_digest) == (None, None, None)
    assert (record.input, record.metadata) == ('{"i":1}', '{"m":1}')
    assert (await store.state("t")).values == {"i": 1, "s": 2}
    assert (await store.thread("t")).thread.stopping is None
    until = clock.now + SECOND
    assert (await store.thread("u")).thread.stopping == StoppingAttempt("s", 1, until, until)


async def test_what_a_server_of_version_1_had_in_execution_was_its_own(store: SqliteStore) -> None:
    assert sorted(await store.unsettled()) == ["t", "u"]
    decision = await store.change(commands.Recover("t"))
    assert decision.upcoming.ready
    assert (decision.upcoming.ready.run_id, decision.upcoming.ready.reason) == ("r", Reason.LEASE_LOST)
    decision = await store.change(commands.Recover("u"))
    assert decision.upcoming.ready
    assert decision.upcoming.ready.run_id == "n"
    for thread_id, run_id, epoch in (("t", "r", 2), ("u", "n", 1)):
        run = (await store.change(commands.ClaimRun(thread_id, frozenset({"g"}), "w", LEASE))).run
        assert run
        assert run.run_id == run_id
        await store.change(commands.CommitStep(thread_id, run_id, epoch, "{}", by_worker=True))
        await store.change(commands.SucceedRun(thread_id, run_id, epoch, None, "digest", by_worker=True))
    assert await store.unsettled() == []
