"""The store on SQLite: one writer with group commit, and readers beside it that see only what is committed.

Three lanes: `writer`; `rows` for reads of a few rows; `scans` for lists and whole states, so that a huge thread holds
up nobody who reads something small.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from doubletext_server.clock import Clock
from doubletext_server.store.protocol import (
    EventRecord,
    Observer,
    Page,
    RawState,
    RunRecord,
    State,
    Steer,
    ThreadRecord,
    Transaction,
)
from doubletext_server.store.rows import ASSISTANT, Rows, assistant_row, read_assistant
from doubletext_server.store.sqlite import lists, reads, schema, tidy, trim, writes
from doubletext_server.store.sqlite.lane import Lane, read_batch, write_batch
from doubletext_server.store.sqlite.sql import insert, listed
from doubletext_server.store.sqlite.views import load_view
from doubletext_server.store.sqlite.wal import WriteAheadLog
from doubletext_server.store.sqlite.writes import write
from doubletext_statemachine.commands import Command
from doubletext_statemachine.errors import AssistantExists, AssistantNotFound
from doubletext_statemachine.model import Assistant, Json, Run, ThreadView, Tombstone
from doubletext_statemachine.words import TERMINAL, RunStatus, ThreadStatus

SNAPSHOT_FROM: Final = 64 * 1024
"""Updates of less than this many characters in all are folded anew at each reading."""

ADD_ASSISTANT: Final = insert("assistants", ASSISTANT[1:])

T = TypeVar("T")

log = structlog.get_logger("store")


class SqliteTransaction:
    """The writer's connection within a transaction."""

    def __init__(self, connection: sqlite3.Connection, assistants: Mapping[int, Assistant], left: set[str]) -> None:
        self._connection = connection
        self._assistants = assistants
        self._left = left

    def load(self, command: Command, now: int) -> ThreadView:
        return load_view(self._connection, command, self._assistants, now)

    def write(self, rows: Rows) -> None:
        write(self._connection, rows, self._left)


class SqliteStore:
    """Made by `open`; see protocol.Store."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._by_key: dict[int, Assistant] = {}
        self._by_id: dict[str, Assistant] = {}
        self._snapshotting: dict[str, asyncio.Task[None]] = {}
        self.writer = Lane(partial(schema.connect, path, read_only=False), write_batch)
        self._wal = WriteAheadLog(path, self.writer)
        self.rows = Lane(partial(schema.connect, path, read_only=True), read_batch)
        self.scans = Lane(partial(schema.connect, path, read_only=True), read_batch)

    @classmethod
    async def open(cls, path: str, clock: Clock, mode: int = 0o600) -> "SqliteStore":
        """Open or create the database file and hold it until `close`. Raises schema.CannotOpen."""
        store = cls(path, clock)
        store._owned = schema.lock_file(path, mode)
        try:
            schema.prepare(path)
            await store.writer.open()
            await store.rows.open()
            await store.scans.open()
            await store.writer.run(writes.pare_assistants)
            await store.rows.run(store._load_assistants)
            await store.rows.run(store._catch_up)
            store._left = await store.rows.run(tidy.leftovers)
        except sqlite3.Error as error:
            await store.close()
            raise schema.CannotOpen(f"cannot use the database {path}: {error}; choose another --db") from error
        except BaseException:
            await store.close()
            raise
        return store

    _owned: int
    _left: set[str]

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Let time go on from where the file ends, should the clock have been set back since."""
        (newest,) = connection.execute("SELECT max(update_time) FROM threads").fetchone()
        clock, behind = self.clock, (newest or 0) - self.clock()
        if behind > 0:
            log.warning("the clock was set back; time goes on from the newest change", seconds=behind / 1_000_000)
            self.clock = lambda: clock() + behind

    async def close(self) -> None:
        await asyncio.gather(*self._snapshotting.values(), return_exceptions=True)
        await self._wal.close()
        for lane in (self.scans, self.rows, self.writer):
            await lane.close()
        schema.unlock_file(self._owned)

    async def transact(
        self,
        work: Callable[[Transaction], T],
        committed: Callable[[T], object],
        failed: Callable[[BaseException], object],
        *,
        deletes: bool = False,
    ) -> T:
        self._wal.written()

        def on_connection(connection: sqlite3.Connection) -> T:
            return work(SqliteTransaction(connection, self._by_key, self._left))

        # A thread's row goes before what refers to it, which may be too much for one commit: see `tidy`.
        return await self.writer.run(on_connection, committed, failed, alone=deletes)

    async def settled(self) -> None:
        await self.writer.run(lambda connection: None)

    def observe(self, observer: Observer) -> None:
        self.writer.observe = observer

    # Assistants: few, so all of them are in memory, the deleted ones too as long as runs may have them

    def _load_assistants(self, connection: sqlite3.Connection) -> None:
        for *row, delete_time in connection.execute(f"SELECT {listed(ASSISTANT)}, delete_time FROM assistants"):
            self._keep(read_assistant(tuple(row)), deleted=delete_time is not None)

    def _keep(self, assistant: Assistant, *, deleted: bool = False) -> None:
        self._by_key[assistant.key] = assistant
        if not deleted:
            self._by_id[assistant.assistant_id] = assistant

    async def add_assistant(self, assistant: Assistant) -> Assistant:
        def add(connection: sqlite3.Connection) -> Assistant:
            taken = connection.execute(
                "SELECT 1 FROM assistants WHERE assistant_id = ? AND delete_time IS NULL", (assistant.assistant_id,)
            ).fetchone()
            if taken:
                raise AssistantExists(assistant_id=assistant.assistant_id)
            key = connection.execute(
                ADD_ASSISTANT,
                assistant_row(assistant),
            ).lastrowid
            assert key is not None
            return replace(assistant, key=key)

        return await self.writer.run(add, then=self._keep)

    async def delete_assistant(self, assistant_id: str) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            deleted = connection.execute(
                "UPDATE assistants SET delete_time = ? WHERE assistant_id = ? AND delete_time IS NULL",
                (self.clock(), assistant_id),
            ).rowcount
            if not deleted:
                raise AssistantNotFound(assistant_id=assistant_id)

        await self.writer.run(delete, then=lambda _: self._by_id.pop(assistant_id, None))
        # After the commits of those who were admitted before: nothing reads what is pared of an assistant after them.
        await self.writer.run(writes.pare_assistants, then=self._pared)

    def _pared(self, keys: list[int]) -> None:
        for key in keys:
            self._by_key[key] = replace(self._by_key[key], metadata="{}", config="{}", reducers={})

    def assistant(self, assistant_id: str) -> Assistant | None:
        return self._by_id.get(assistant_id)

    def assistants(self) -> list[Assistant]:
        return sorted(self._by_id.values(), key=lambda assistant: assistant.assistant_id)

    # Readings

    async def thread(self, thread_id: str) -> ThreadRecord:
        return await self.rows.run(partial(reads.thread, thread_id))

    async def threads(
        self, statuses: Sequence[ThreadStatus], limit: int, after: list[Any] | None, metadata: Json = "{}"
    ) -> Page[ThreadRecord]:
        return await self.scans.run(partial(lists.threads, statuses, limit, after, metadata))

    async def run(self, run_id: str) -> RunRecord | Tombstone | None:
        return await self.rows.run(partial(reads.run, self._by_key, self.clock(), run_id))

    async def start_of(self, thread_id: str, run_id: str) -> tuple[RunRecord | Tombstone | None, RawState]:
        record, raw = await self.scans.run(partial(reads.start_of, self._by_key, self.clock(), thread_id, run_id))
        self._snapshot_if_due(thread_id, raw)
        return record, raw

    async def thread_of(self, run_id: str) -> str | None:
        return await self.rows.run(partial(reads.thread_of, run_id))

    async def superseded_by(self, run_id: str) -> list[RunRecord | Tombstone]:
        return await self.rows.run(partial(reads.superseded_by, self._by_key, run_id))

    async def runs(
        self,
        thread_id: str,
        statuses: Sequence[RunStatus],
        oldest_first: bool,
        limit: int,
        after: list[Any] | None,
        metadata: Json = "{}",
    ) -> Page[RunRecord]:
        asked = (thread_id, statuses, oldest_first, limit, after, metadata)
        return await self.scans.run(partial(lists.runs, self._by_key, self.clock(), *asked))

    async def events(self, thread_id: str, after: int, limit: int, run_id: str | None = None) -> list[EventRecord]:
        return await self.rows.run(partial(reads.events, thread_id, after, limit, run_id))

    async def steers(self, thread_id: str, run_id: str) -> list[Steer]:
        return await self.rows.run(partial(reads.steers, self._by_key, self.clock(), thread_id, run_id))

    async def taken(self, run_ids: Sequence[str]) -> list[Steer]:
        return await self.rows.run(partial(reads.taken, run_ids))

    async def last_part(self, run_id: str) -> int:
        return await self.rows.run(partial(reads.last_part, run_id))

    async def running(self) -> list[Run]:
        return await self.rows.run(partial(reads.running, self._by_key))

    async def suspects(self) -> dict[str, int]:
        return await self.rows.run(reads.suspects)

    async def suspect(self, runs: Mapping[str, int]) -> None:
        await self.writer.run(partial(writes.suspect, runs))

    async def unsettled(self) -> list[str]:
        return await self.rows.run(reads.unsettled)

    async def untidy(self) -> bool:
        return await self.rows.run(tidy.untidy)

    async def tidy(self) -> bool:
        return await self.writer.run(tidy.tidy)

    # Retention

    async def aged(self, before: int, limit: int) -> list[str]:
        return await self.rows.run(partial(trim.aged, before, limit))

    async def trim(self, thread_id: str, before: int, keep: int) -> bool:
        return await self.writer.run(partial(trim.trim, thread_id, before, keep, self.clock()))

    async def inactive(self, since: int, limit: int) -> list[str]:
        return await self.rows.run(partial(trim.inactive, since, limit))

    async def still_active(self, thread_id: str) -> None:
        await self.writer.run(partial(trim.still_active, thread_id, self.clock()))

    async def in_flight(self) -> dict[RunStatus, int]:
        return await self.rows.run(reads.in_flight)

    async def state(self, thread_id: str, step: int | None = None) -> State:
        state, raw = await self.scans.run(partial(reads.state, thread_id, step))
        if step is None:
            self._snapshot_if_due(thread_id, raw)
        return state

    async def run_and_state(
        self, run_id: str, thread_id: str, step: int | None = None
    ) -> tuple[RunRecord | Tombstone | None, State]:
        def read(connection: sqlite3.Connection) -> tuple[RunRecord | Tombstone | None, tuple[State, RawState], bool]:
            found = reads.run(self._by_key, self.clock(), run_id, connection)
            at = step
            if step is None and isinstance(found, RunRecord) and found.run.status in TERMINAL:
                at = found.run.left_state_at  # mutant: left-state
            return found, reads.state(thread_id, at, connection), at is None

        found, (state, raw), newest = await self.scans.run(read)
        if newest:
            self._snapshot_if_due(thread_id, raw)
        return found, state

    async def states(self, thread_id: str, limit: int, after: list[Any] | None) -> Page[State]:
        return await self.scans.run(partial(reads.states, thread_id, limit, after))

    # Snapshots: made when a reading of the newest state had to fold more than the last snapshot holds, so that
    # reading costs what the state's size does. Threads that nobody reads get none. One that has grown by half takes the
    # last one's place: states from between the two cost no more to fold from the beginning than this one to read.

    def _snapshot_if_due(self, thread_id: str, raw: RawState) -> None:
        folded = sum(len(update) for update, *_ in raw.updates)
        if folded > max(SNAPSHOT_FROM, len(raw.snapshot or "")) and thread_id not in self._snapshotting:
            task = asyncio.create_task(self._snapshot(thread_id))
            self._snapshotting[thread_id] = task
            task.add_done_callback(lambda _: self._snapshotting.pop(thread_id, None))

    async def _snapshot(self, thread_id: str) -> None:
        try:
            state, raw = await self.scans.run(partial(reads.state, thread_id, None))
            replaces = 2 * len(state.values) >= 3 * len(raw.snapshot or "")
            await self.writer.run(partial(_add_snapshot, state, replaces))
        except Exception as error:  # noqa: BLE001 - the next reading tries again
            log.warning("no snapshot was made", thread_id=thread_id, error=str(error))


def _add_snapshot(state: State, replaces: bool, connection: sqlite3.Connection) -> None:
    """Unless the step was cut off, or its thread deleted, meanwhile: the number may be another step's by now.

    replaces: the newest one before it goes
    """
    added = connection.execute(
        "INSERT OR IGNORE INTO snapshots (thread_id, step, body) SELECT thread_id, step, ? FROM steps "
        "WHERE thread_id = ? AND step = ? AND run_id IS ? AND create_time = ?",
        (state.values, state.thread_id, state.step, state.run_id, state.create_time),
    ).rowcount
    if added and replaces:
        connection.execute(
            "DELETE FROM snapshots WHERE thread_id = ?1 "
            "AND step = (SELECT max(step) FROM snapshots WHERE thread_id = ?1 AND step < ?2)",
            (state.thread_id, state.step),
        )
