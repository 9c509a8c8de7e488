"""A lane: one SQLite connection on a thread of its own, through which functions pass in order, batched.

A hop to the thread costs more than a small statement, so all functions that are waiting share one; on the writer's lane
they share one transaction too, which is group commit. A function runs from begin to end on the lane's thread, so no
cancelled caller can leave half of it behind.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import aiosqlite
import structlog

from doubletext_server.store.protocol import Observer
from doubletext_statemachine.errors import NotReady, Refusal

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], Any]
Then: TypeAlias = Callable[[Any], object] | None
RunBatch: TypeAlias = Callable[[sqlite3.Connection, list[Work]], list[Any]]

LARGEST_BATCH: Final = 256
LONGEST_READ: Final = 0.05
"""Seconds after which what a batch has read is answered, before it reads on: whole states may be large."""

log = structlog.get_logger("store")


class without_references:  # noqa: N801 - it is called as a function is
    """Work that SQLite does not check for rows that refer to nothing."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, connection: sqlite3.Connection) -> Any:
        return self.work(connection)


class Lane:
    """A connection on a thread of its own. `open` it; `close` it.

    run_batch  runs on the lane's thread and returns, for each function, its value or the exception to raise; those for
               which it returns nothing come with the next batch
    observe    called on the event loop after each batch, before its callers are answered: how many functions it had,
               and how many seconds it took
    batches    how many there have been
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], run_batch: RunBatch) -> None:
        self._connection = aiosqlite.Connection(connect, iter_chunk_size=64)
        self._run_batch = run_batch
        self._waiting: list[tuple[Work, Then, Then, asyncio.Future[Any]]] = []
        self._pump: asyncio.Task[None] | None = None
        self.batches = 0
        self.observe: Observer | None = None

    async def open(self) -> None:
        await self._connection

    @property
    def is_open(self) -> bool:
        return self._connection._connection is not None

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], object] | None = None,
        otherwise: Callable[[BaseException], object] | None = None,
        *,
        alone: bool = False,
    ) -> T:
        """Run `work(connection)` on the lane and return its value. alone: in a batch of its own, without the checks of
        references, which its rows may break for a while.

        `then(value)`, or `otherwise(error)`, is called on the event loop first, also when the caller is gone by then:
        cancelling the caller does not cancel the work. Raises what the work raised, or NotReady when the database
        cannot be read or written.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((without_references(work) if alone else work, then, otherwise, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._drain())
        try:
            return await future
        finally:
            del future  # else a refusal, its traceback and this frame hold one another

    async def between_batches(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work(connection)` on the lane's thread, outside of every transaction."""
        done: T = await self._connection._execute(work, self._connection._conn)  # type: ignore[no-untyped-call]
        return done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # who is about to ask shares the batch: decision 0062
                size = self._next_size()
                batch, self._waiting = self._waiting[:size], self._waiting[size:]
                self.batches += 1
                outcomes: list[Any]
                try:
                    # The one protected method of aiosqlite in use: its public ones are a hop for each statement.
                    # See docs/decisions/0002.
                    works = [work for work, *_ in batch]
                    outcomes, seconds = await self._connection._execute(self._timed, self._connection._conn, works)  # type: ignore[no-untyped-call]
                except Exception as error:  # noqa: BLE001 - whatever it was, each caller gets it
                    outcomes = [error] * len(batch)
                else:
                    self._tell(len(outcomes), seconds)
                self._waiting[:0] = batch[len(outcomes) :]
                for (_, then, otherwise, future), outcome in zip(batch, outcomes, strict=False):
                    _settle(otherwise if isinstance(outcome, BaseException) else then, future, outcome)
        finally:
            self._pump = None

    def _next_size(self) -> int:
        """How many of those who wait go together: up to the next that goes alone."""
        for place, (work, *_) in enumerate(self._waiting[:LARGEST_BATCH]):
            if isinstance(work, without_references):
                return max(place, 1)
        return LARGEST_BATCH

    def _timed(self, connection: sqlite3.Connection, works: list[Work]) -> tuple[list[Any], float]:
        """The batch's outcomes, and the seconds it took on the lane's thread: hops and the loop's own work aside."""
        started = time.perf_counter()
        outcomes = self._run_batch(connection, works)
        return outcomes, time.perf_counter() - started

    def _tell(self, size: int, seconds: float) -> None:
        if self.observe is not None:
            try:
                self.observe(size, seconds)
            except Exception:
                log.exception("an observer failed on a batch")

    async def close(self) -> None:
        """Run what is waiting, then close the connection."""
        while self._pump is not None:
            await asyncio.wait([self._pump])
        await self._connection.close()


def _settle(tell: Then, future: asyncio.Future[Any], outcome: Any) -> None:
    if tell is not None:  # mutant: caller-gone
        try:
            tell(outcome)
        except Exception:
            log.exception("a listener failed on the outcome of a change")
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def read_batch(connection: sqlite3.Connection, batch: list[Work]) -> list[Any]:
    """One snapshot of the database for as many as it is read for in a while; each function fails for itself."""
    connection.execute("BEGIN")
    try:
        outcomes, end = [], time.perf_counter() + LONGEST_READ
        for work in batch:
            outcomes.append(_attempt(connection, work))
            if time.perf_counter() > end:
                break
        return outcomes
    finally:
        connection.execute("COMMIT")


def write_batch(connection: sqlite3.Connection, batch: list[Work]) -> list[Any]:
    """One transaction for all. A Refusal is one function's own affair, raised before it wrote anything; any other
    failure undoes the batch, and each function is then tried alone, so that none fails for another."""
    if isinstance(batch[0], without_references):
        connection.execute("PRAGMA foreign_keys = OFF")  # possible between transactions only
        try:
            return write_batch(connection, [batch[0].work])
        finally:
            connection.execute("PRAGMA foreign_keys = ON")
    try:
        connection.execute("BEGIN IMMEDIATE")  # mutant: commit-begin
    except sqlite3.Error as error:  # no function's fault: trying each alone would only make all wait so much longer
        return [_as_refusal(error) for _ in batch]
    try:
        return _transaction(connection, batch)
    except Exception as error:  # noqa: BLE001 - becomes the outcome
        if len(batch) == 1:
            return [_as_refusal(error)]
        return [write_batch(connection, [work])[0] for work in batch]  # mutant: failed-batch


def _transaction(connection: sqlite3.Connection, batch: list[Work]) -> list[Any]:
    """Run the batch in the transaction that is open, and end it either way."""
    try:
        outcomes: list[Any] = []
        for work in batch:
            try:
                outcomes.append(work(connection))
            except Refusal as refusal:
                outcomes.append(refusal)
        connection.execute("COMMIT")  # mutant: commit-end
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _attempt(connection: sqlite3.Connection, work: Work) -> Any:
    try:
        return work(connection)
    except Exception as error:  # noqa: BLE001 - becomes the outcome
        return _as_refusal(error)


PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Primary result codes that tell of the machine, not of a bug."""


def _as_refusal(error: Exception) -> Exception:
    """A disk that is full or fails is no bug: the caller may try again. What SQLite rejects as wrong is one."""
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING:
        log.error("the database failed", error=str(error))
        return NotReady(what=f"unable to use its database just now ({error})")
    return error
