"""A store in the test's process, and short words for what tests ask of it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from doubletext import jsontext
from doubletext_server.clock import Clock
from doubletext_server.engine.changes import Changes
from doubletext_server.store.protocol import EventRecord, Page, Store
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import DEFAULT_REDUCERS, Assistant, Output, Reducers, Run, Tombstone
from doubletext_statemachine.words import CancelAction, QueuePolicy, RunStatus, Strategy
from tests.support.clock import SECOND, ManualClock

S = RunStatus
KEEP, SUPERSEDE, MERGE = QueuePolicy.KEEP, QueuePolicy.SUPERSEDE, QueuePolicy.MERGE
ENQUEUE, REJECT, INTERRUPT, ROLLBACK = Strategy.ENQUEUE, Strategy.REJECT, Strategy.INTERRUPT, Strategy.ROLLBACK

GRAPHS: Final = frozenset({"g"})
LEASE: Final = 2 * SECOND
GRACE: Final = 5 * SECOND
MARKER: Final = "b1d94e07f3"
"""Stands in content that is to be found again, or nowhere any more."""


def text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@dataclass
class Hand:
    """A store, with short words for what tests ask of it. Ids and contents are given by the test."""

    store: Store
    path: Path
    clock: ManualClock
    assistant: Assistant
    reopen_with: Callable[[str, Clock], Awaitable[Store]] = SqliteStore.open
    epochs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = Changes(self.store)

    async def change(self, command: commands.Command) -> Decision:
        return await self.changes.change(command)

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await self.reopen_with(str(self.path), self.clock)
        self.changes = Changes(self.store)

    async def create(self, thread_id: str = "t", **more: Any) -> str:
        await self.change(commands.CreateThread(thread_id, **more))
        return thread_id

    def admission(
        self, run_id: str, thread_id: str = "t", strategy: Strategy = Strategy.ENQUEUE, given: Any = None, **more: Any
    ) -> commands.AdmitRun:
        assistant = more.pop("assistant", self.assistant)
        return commands.AdmitRun(
            thread_id, run_id, assistant.assistant_id, assistant, text(given or {}), strategy=strategy, **more
        )

    async def admit(self, run_id: str, thread_id: str = "t", strategy: Any = Strategy.ENQUEUE, **more: Any) -> Decision:
        return await self.change(self.admission(run_id, thread_id, strategy, **more))

    async def claim(self, thread_id: str = "t", worker_id: str | None = None) -> Run:
        """By a worker for LEASE, or by the server itself."""
        lease = None if worker_id is None else LEASE
        run = (await self.change(commands.ClaimRun(thread_id, GRAPHS, worker_id, lease))).run
        assert isinstance(run, Run)
        self.epochs[run.run_id] = run.epoch
        return run

    async def commit(self, run_id: str, update: Any, thread_id: str = "t") -> Decision:
        return await self.change(commands.CommitStep(thread_id, run_id, self.epochs[run_id], text(update)))

    async def publish(self, run_id: str, channel: str, data: Any, thread_id: str = "t") -> Decision:
        return await self.change(
            commands.PublishOutput(thread_id, run_id, self.epochs[run_id], (Output(channel, text(data)),))
        )

    async def succeed(self, run_id: str, thread_id: str = "t") -> Decision:
        return await self.change(commands.SucceedRun(thread_id, run_id, self.epochs[run_id]))

    async def cancel(self, run_id: str, thread_id: str = "t", *, rollback: bool = False) -> Decision:
        action = CancelAction.ROLLBACK if rollback else CancelAction.INTERRUPT
        return await self.change(commands.CancelRun(thread_id, run_id, action))

    async def update(self, values: Any, thread_id: str = "t", reducers: Reducers = DEFAULT_REDUCERS) -> Decision:
        return await self.change(commands.UpdateState(thread_id, text(values), reducers))

    async def run_through(self, run_id: str, *updates: Any, thread_id: str = "t", **more: Any) -> None:
        """A run from its admission to success, with a step for each update."""
        await self.admit(run_id, thread_id, **more)
        await self.claim(thread_id)
        for update in updates:
            await self.commit(run_id, update, thread_id)
        await self.succeed(run_id, thread_id)

    async def record(self, run_id: str) -> Any:
        return await self.store.run(run_id)

    async def buried(self, run_id: str) -> Tombstone:
        found = await self.store.run(run_id)
        assert isinstance(found, Tombstone), found
        return found

    async def events(self, thread_id: str = "t") -> list[EventRecord]:
        return await self.store.events(thread_id, 0, 1_000_000)

    async def values(self, step: int | None = None, thread_id: str = "t") -> dict[str, Any]:
        return jsontext.loads((await self.store.state(thread_id, step)).values)


async def pages(
    read: Callable[[list[Any] | None], Awaitable[Page[Any]]],
    between: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[list[Any]]:
    """Page by page, doing something `between` two of them."""
    after: list[Any] | None = None
    while True:
        page = await read(after)
        yield page.items
        if page.next is None:
            return
        after = page.next
        if between is not None:
            await between()


def everything(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables of an SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


def columns_of(path: Path, table: str) -> list[str]:
    """The names of the columns of a table of an SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def tables_with(path: Path, marker: str) -> set[str]:
    """The tables in which the marker stands somewhere."""
    return {table for table, rows in everything(path).items() if any(marker in repr(row) for row in rows)}


async def dealt(path: Path, clock: ManualClock, open_store: Callable[[str, Clock], Awaitable[Store]]) -> Hand:
    store = await open_store(str(path), clock)
    assistant = await store.add_assistant(Assistant(0, "a", "g", clock(), stop_grace=GRACE))
    return Hand(store, path, clock, assistant, open_store)


@dataclass
class SqliteHand(Hand):
    """For tests that look into the file, or under the store's hood."""

    @property
    def sqlite(self) -> SqliteStore:
        assert isinstance(self.store, SqliteStore)
        return self.store

    async def close(self) -> None:
        """Close the store for good, and see that nothing is left beside the file."""
        await self.store.close()
        assert [each.name for each in self.path.parent.iterdir()] == [self.path.name]


async def snapshots(hand: SqliteHand, thread_id: str = "t") -> list[int]:
    """The steps of which there are snapshots, once those in the making are made."""
    while hand.sqlite._snapshotting:
        await asyncio.gather(*hand.sqlite._snapshotting.values())
        await asyncio.sleep(0)
    rows = everything(hand.path)["snapshots"]
    return sorted(step for thread, step, _ in rows if thread == thread_id)
