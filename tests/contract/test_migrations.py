"""Files of each earlier version, as a server of that version left them, and what becomes of what they hold."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.engine.changes import Changes
from doubletext_server.store.check import check
from doubletext_server.store.protocol import RunRecord
from doubletext_server.store.sqlite import schema
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.model import StoppingAttempt
from doubletext_statemachine.words import CancelAction, Reason
from tests.support.clock import SECOND, ManualClock
from tests.support.database_files import a_file_of_version_6, content, opens, query, refusal
from tests.support.store import GRACE, GRAPHS, LEASE, MARKER, S, everything

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


@asynccontextmanager
async def opened_at(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(str(path), clock)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    """Opened on a file of version 1."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA application_id = {schema.APPLICATION_ID}; {schema.MIGRATIONS[0]}; {VERSION_1}"
            "PRAGMA user_version = 1; PRAGMA journal_mode = WAL;"
        )
    async with opened_at(path, clock) as store:
        yield store


async def test_a_file_of_version_1_opens_with_what_ran_and_what_was_awaited(
    store: SqliteStore, path: Path, clock: ManualClock
) -> None:
    assert query(path, "PRAGMA user_version") == len(schema.MIGRATIONS)
    record = await store.run("r")
    assert isinstance(record, RunRecord)
    assert (record.run.status, record.run.epoch, record.run.last_step) == (S.RUNNING, 1, 2)
    assert (record.run.worker_id, record.run.lease_expires, record.run.outcome_digest) == (None, None, None)
    assert (record.input, record.metadata) == ('{"i":1}', '{"m":1}')
    assert (await store.state("t")).values == '{"i":1,"s":2}'
    assert (await store.thread("t")).thread.stopping is None
    until = clock.now + SECOND
    assert (await store.thread("u")).thread.stopping == StoppingAttempt("s", 1, until, until)


async def test_what_a_server_of_version_1_had_in_execution_was_its_own(store: SqliteStore) -> None:
    assert sorted(await store.unsettled()) == ["t", "u"]
    decision = await Changes(store).change(commands.Recover("t"))
    assert decision.upcoming.ready
    assert (decision.upcoming.ready.run_id, decision.upcoming.ready.reason) == ("r", Reason.LEASE_LOST)
    decision = await Changes(store).change(commands.Recover("u"))
    assert decision.upcoming.ready
    assert decision.upcoming.ready.run_id == "n"
    for thread_id, run_id, epoch in (("t", "r", 2), ("u", "n", 1)):
        run = (await Changes(store).change(commands.ClaimRun(thread_id, frozenset({"g"}), "w", LEASE))).run
        assert run
        assert run.run_id == run_id
        await Changes(store).change(commands.CommitStep(thread_id, run_id, epoch, "{}", by_worker=True))
        await Changes(store).change(commands.SucceedRun(thread_id, run_id, epoch, None, "digest", by_worker=True))
    assert await store.unsettled() == []


# Version 6: the words stood in CHECKs, and the columns stopping_* were called drain_*


async def test_a_file_of_version_6_keeps_every_row(path: Path) -> None:
    a_file_of_version_6(path)
    before = everything(path)
    schema.prepare(str(path))
    after = everything(path)
    # Steps made under the first rules, and columns that came later.
    after["steps"] = [row[:-3] for row in after["steps"] if row[-3:] == (1, None, None)]
    after["requests"] = [row[:-1] for row in after["requests"] if row[-1] == 0]
    known = query(path, "SELECT count(*) FROM runs WHERE rank = sequence * 1048576 AND input_bytes = length(input)")
    assert known == len(after["runs"])
    for table in ("threads", "runs", "tombstones"):
        after[table] = [row[: len(before[table][0])] for row in after[table]]
    assert {table: rows for table, rows in after.items() if table in before} == before
    assert query(path, "SELECT count(*) FROM pragma_foreign_key_check") == 0


async def test_a_file_of_version_6_opens_recovers_and_passes_a_check(path: Path, clock: ManualClock) -> None:
    a_file_of_version_6(path)
    clock.now = 1_050 * SECOND
    async with opened_at(path, clock) as store:
        until = 1_054 * SECOND
        assert (await store.thread("stopped")).thread.stopping == StoppingAttempt("old", 1, until, until, "w4")
        assert sorted(await store.unsettled()) == ["leased", "queue", "stopped", "work"]
        for thread_id in await store.unsettled():
            await Changes(store).change(commands.Recover(thread_id))
        statuses = {}
        for thread_id in ("talk", "work", "queue", "leased", "stopped", "cut"):
            records = (await store.runs(thread_id, [], True, 10, None)).items
            statuses[thread_id] = [(record.run.run_id, record.run.status, record.queue_position) for record in records]
        assert statuses == {
            "talk": [
                ("hello", S.SUCCESS, 0),
                ("first", S.INTERRUPTED, 0),
                ("waiting", S.INTERRUPTED, 0),
                ("third", S.SUCCESS, 0),
            ],
            "work": [("failed", S.ERROR, 0), ("late", S.TIMEOUT, 0), ("silent", S.ERROR, 0), ("back", S.PENDING, 1)],
            # The server's own attempt at p0 ended with its process. A worker's goes on, and so does the wait for one.
            "queue": [("p0", S.PENDING, 1), ("p1", S.PENDING, 2), ("p2", S.PENDING, 3), ("delayed", S.PENDING, 4)],
            "leased": [("held", S.RUNNING, 0)],
            "stopped": [("old", S.INTERRUPTED, 0), ("new", S.PENDING, 1)],
            "cut": [("cancelled", S.INTERRUPTED, 0)],
        }
        assert (await Changes(store).change(commands.ClaimRun("stopped", GRAPHS))).run is None
        clock.now = until
        for thread_id, run_id in (("stopped", "new"), ("queue", "p0"), ("work", "back")):
            run = (await Changes(store).change(commands.ClaimRun(thread_id, GRAPHS))).run
            assert run
            assert run.run_id == run_id
    report = check(str(path))
    assert report.ok, list(report.lines())
    assert report.runs == 16


async def test_what_a_rollback_deletes_after_a_migration_is_nowhere_in_the_file(path: Path, clock: ManualClock) -> None:
    """The migration builds the table of runs anew; the pages of the old one are overwritten too."""
    a_file_of_version_6(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET input = json_object('x', ?) WHERE run_id = 'p1'", (MARKER * 500,))
        connection.commit()
    async with opened_at(path, clock) as store:
        await Changes(store).change(commands.CancelRun("queue", "p1", CancelAction.ROLLBACK))
    assert MARKER.encode() not in content(path)


LOSES_THREADS: Final = "DELETE FROM threads WHERE thread_id = 'queue'"


async def test_a_migration_that_leaves_rows_referring_to_nothing_is_undone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file_of_version_6(path)
    await opens(path)
    held = everything(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, LOSES_THREADS))
    assert "rows refer to nothing after migration 15" in await refusal(path)
    assert everything(path) == held
    assert query(path, "PRAGMA user_version") == 14


async def test_a_file_in_which_rows_refer_to_nothing_opens_all_the_same(path: Path) -> None:
    a_file_of_version_6(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(LOSES_THREADS)
        connection.commit()
    async with opened_at(path, ManualClock()) as store:
        assert (await store.thread("talk")).thread.last_step == 7
