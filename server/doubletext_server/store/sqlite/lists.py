"""ListThreads and ListRuns: each filter is a range of an index, in the order of the list, and a page is walked to.

What a page costs depends on its size, and on how much work is in flight, but not on how much the file holds.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from doubletext_server.store.protocol import LARGEST_PAGE, Page, RunRecord, ThreadRecord
from doubletext_server.store.rows import GIVEN, RUN
from doubletext_server.store.sqlite import labels
from doubletext_server.store.sqlite.reads import (
    Assistants,
    placed,
    places,
    require_thread,
    run_record,
    thread,
    with_merged,
)
from doubletext_server.store.sqlite.sql import listed
from doubletext_server.store.sqlite.walk import AnyOf, Key, Order, Steps, Walk, in_all
from doubletext_statemachine.model import Json
from doubletext_statemachine.words import IN_FLIGHT, RESTING, TERMINAL, RunStatus, ThreadStatus

T = TypeVar("T")

MOST_MISSES: Final = 2_000
"""A page ends early once so many places that one filter led to were ruled out by another."""

LAST: Final = 1 << 62

_RUN_AT: Final = f"SELECT {listed(RUN + GIVEN)} FROM runs WHERE thread_id = ? AND sequence = ?"
_BUSY: Final = "SELECT DISTINCT thread_id FROM runs INDEXED BY runs_in_flight WHERE end_time IS NULL"
_NOT_BUSY: Final = (
    "NOT EXISTS (SELECT 1 FROM runs INDEXED BY runs_in_flight "
    "WHERE runs.thread_id = threads.thread_id AND end_time IS NULL)"
)


def threads(
    statuses: Sequence[ThreadStatus],
    limit: int,
    after: list[Any] | None,
    metadata: Json,
    connection: sqlite3.Connection,
) -> Page[ThreadRecord]:
    order = Order("create_time, thread_id", newest_first=True)
    ranges: list[Steps] = [
        Walk(connection, order, "SELECT create_time, thread_id FROM thread_labels WHERE label = ?", (label,))
        for label in labels.of(metadata)
    ]
    if statuses or not ranges:
        ranges.append(_threads_with(set(statuses or ThreadStatus), connection, order))
    return _page(
        in_all(ranges, tuple(after or (LAST, ""))),
        limit,
        lambda key: thread(key[1], connection),
        lambda record: len(record.thread.metadata),
    )


def _threads_with(statuses: set[ThreadStatus], connection: sqlite3.Connection, order: Order) -> Steps:
    """A thread is found by what its newest finished run left it as, which is its status unless it is busy."""
    resting = [status.value for status in RESTING if status in statuses]
    busy_too = ThreadStatus.BUSY in statuses
    unless_busy = "" if busy_too else f" AND {_NOT_BUSY}"
    ranges = [
        Walk(connection, order, f"SELECT create_time, thread_id FROM threads WHERE outcome = ?{unless_busy}", (each,))
        for each in resting
    ]
    if busy_too and len(resting) < len(RESTING):
        busy = f"SELECT create_time, thread_id FROM ({_BUSY}) CROSS JOIN threads USING (thread_id) WHERE TRUE"
        ranges.append(Walk(connection, order, busy, leaps=False))
    return AnyOf(order, ranges)


def runs(
    assistants: Assistants,
    now: int,
    thread_id: str,
    statuses: Sequence[RunStatus],
    oldest_first: bool,
    limit: int,
    after: list[Any] | None,
    metadata: Json,
    connection: sqlite3.Connection,
) -> Page[RunRecord]:
    require_thread(connection, thread_id)
    order = Order("sequence", newest_first=not oldest_first)
    ranges: list[Steps] = [
        Walk(
            connection,
            order,
            "SELECT sequence FROM run_labels WHERE thread_id = ? AND label = ?",
            (thread_id, label),
        )
        for label in labels.of(metadata)
    ]
    if statuses:
        ranges.append(_runs_with(set(statuses), thread_id, connection, order))
    elif not ranges:
        ranges.append(Walk(connection, order, "SELECT sequence FROM runs WHERE thread_id = ?", (thread_id,)))
    in_line = places(connection, assistants, now, thread_id)

    def read(key: Key) -> RunRecord:
        row = connection.execute(_RUN_AT, (thread_id, *key)).fetchone()
        return placed(with_merged(connection, run_record(row, assistants)), in_line)

    start = tuple(after or (0 if oldest_first else LAST,))
    return _page(
        in_all(ranges, start), limit, read, lambda record: len(record.input or "") + len(record.metadata or "")
    )


def _runs_with(statuses: set[RunStatus], thread_id: str, connection: sqlite3.Connection, order: Order) -> Steps:
    in_flight = "SELECT sequence FROM runs INDEXED BY runs_in_flight WHERE thread_id = ? AND end_time IS NULL"
    finished = "SELECT sequence FROM runs INDEXED BY runs_by_status WHERE thread_id = ? AND end_time IS NOT NULL"
    return AnyOf(
        order,
        [
            Walk(connection, order, f"{select} AND status = ?", (thread_id, status.value))
            for select, some in ((in_flight, IN_FLIGHT), (finished, TERMINAL))
            for status in statuses & some
        ],
    )


def _page(
    found: Iterator[tuple[Key, bool]], limit: int, read: Callable[[Key], T], size_of: Callable[[T], int]
) -> Page[T]:
    items: list[T] = []
    last: Key = ()
    size = misses = 0
    for key, stands_in_all in found:
        if not stands_in_all:
            misses += 1
            if misses == MOST_MISSES:
                return Page(items, list(key))
            continue
        if len(items) == limit or size >= LARGEST_PAGE:
            return Page(items, list(last))
        items.append(read(key))
        last = key
        size += size_of(items[-1])
    return Page(items, None)
