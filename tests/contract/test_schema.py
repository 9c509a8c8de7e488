"""The schema: what it refuses, should the code forget, and how a file moves on from one version to the next."""

import sqlite3
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.sqlite import schema
from tests.support.database_files import opened, opens, query, refusal
from tests.support.store import SqliteHand, columns_of, everything, tables_with

# What the schema refuses, should the code forget


FORBIDDEN: Final = {
    "a second running run": "INSERT INTO runs SELECT 'x', thread_id, 9, {rest} FROM runs",
    "a run handed back beside the running one": "INSERT INTO runs SELECT 'x', thread_id, 9, {pending} FROM runs",
    "a second run of a sequence": "INSERT INTO runs SELECT 'x', thread_id, 1, {pending} FROM runs",
    "a status without a name": "UPDATE runs SET status = 'paused', end_time = 1",
    "a run that is deleted and there": "UPDATE runs SET status = 'deleted', end_time = 1",
    "an end of a run in flight": "UPDATE runs SET end_time = 1",
    "a terminal run without an end": "UPDATE runs SET status = 'success'",
    "a run of no thread": "UPDATE runs SET thread_id = 'nobody'",
    "a run of no assistant": "UPDATE runs SET assistant_key = 99",
    "a lease of a run that is handed back": "UPDATE runs SET status = 'pending', lease_expires = 1",
    "a lease of a run that is over": "UPDATE runs SET status = 'success', end_time = 1, lease_expires = 1",
    "a step of no thread": "UPDATE steps SET thread_id = 'nobody'",
    "a second assistant of an id": "INSERT INTO assistants SELECT 99, assistant_id, {assistant} FROM assistants",
}
ASSISTANT: Final = "graph, create_time, metadata, config, reducers, max_attempts, stop_grace, run_timeout, delete_time"


@pytest.mark.parametrize("what", list(FORBIDDEN))
async def test_the_schema_itself_refuses(sqlite: SqliteHand, what: str) -> None:
    await sqlite.create()
    await sqlite.admit("r")
    await sqlite.claim()
    run_id, thread_id, sequence, *columns = columns_of(sqlite.path, "runs")
    assert (run_id, thread_id, sequence) == ("run_id", "thread_id", "sequence")
    rest = ", ".join(columns)
    statement = FORBIDDEN[what].format(rest=rest, pending=rest.replace("status", "'pending'"), assistant=ASSISTANT)
    held = everything(sqlite.path)
    with pytest.raises(sqlite3.IntegrityError, match="constraint failed"):
        await sqlite.sqlite.writer.run(lambda connection: connection.execute(statement))
    assert everything(sqlite.path) == held
    assert not sqlite.sqlite.writer.in_transaction


# One schema after another

NEXT: Final = """
    ALTER TABLE threads ADD COLUMN title TEXT NOT NULL DEFAULT 'untitled';
    CREATE TABLE later (x TEXT) STRICT;
    INSERT INTO later SELECT thread_id FROM threads;
"""


def version(path: Path) -> object:
    return query(path, "PRAGMA user_version")


async def test_a_file_of_an_older_version_is_brought_up_to_date_with_all_it_holds(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    await sqlite.run_through("r", {"b": 2}, given={"a": 1})
    before = (await sqlite.record("r"), await sqlite.values(), await sqlite.events())
    held = everything(sqlite.path)
    await sqlite.store.close()
    known = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT))
    assert version(sqlite.path) == known
    for _ in range(2):
        sqlite.store = await opened(sqlite.path)
        assert version(sqlite.path) == known + 1
        assert (await sqlite.record("r"), await sqlite.values(), await sqlite.events()) == before
        now = everything(sqlite.path)
        assert now.pop("later") == [("t",)]
        assert now.pop("threads") == [(*row, "untitled") for row in held["threads"]]
        assert now == {table: rows for table, rows in held.items() if table != "threads"}
        await sqlite.store.close()


async def test_several_versions_are_caught_up_with_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await opens(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT, "ALTER TABLE later ADD COLUMN y TEXT"))
    await opens(path)
    assert version(path) == len(schema.MIGRATIONS)
    assert query(path, "SELECT count(y) FROM later") == 0
    fresh = path.with_name("fresh.db")
    await opens(fresh)
    assert query(fresh, "SELECT group_concat(sql) FROM sqlite_schema") == query(
        path, "SELECT group_concat(sql) FROM sqlite_schema"
    )


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE later (x); CREATE TABLE later (x)",
        "DROP TABLE events; SELECT no_such_column FROM threads",
        "DELETE FROM threads; INSERT INTO threads DEFAULT VALUES",
        "CREATE TABLE later (x); no SQL at all",
    ],
)
async def test_a_migration_that_fails_leaves_the_file_at_its_old_version_with_all_it_held(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    await sqlite.create("someone")
    await sqlite.run_through("r", {"b": 2}, thread_id="someone")
    await sqlite.close()
    held, known = everything(sqlite.path), len(schema.MIGRATIONS)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        await refusal(sqlite.path)
        assert version(sqlite.path) == known
        assert everything(sqlite.path) == held
    await opens(sqlite.path)


async def test_of_two_migrations_the_first_stays_when_the_second_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opens(path)
    known = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, NEXT, "no SQL at all"))
    await refusal(path)
    assert version(path) == known + 1
    assert tables_with(path, "someone") == set()
    assert "later" in everything(path)


async def test_a_first_migration_that_fails_leaves_a_file_that_a_repaired_server_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(schema, "MIGRATIONS", (schema.MIGRATIONS[0] + "; no SQL at all",))
        await refusal(path)
        assert query(path, "SELECT count(*) FROM sqlite_schema") == 0
    await opens(path)
