"""Retention's readings and deletions, each small: events from their beginning on, old tombstones, old request ids.

Times of a thread's events never fall, so that what is too old is a prefix.
"""

import sqlite3
from typing import Final

BATCH: Final = 500
"""Rows of a kind that one commit deletes at most."""


def aged(before: int, limit: int, connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT thread_id FROM threads WHERE oldest_time < ? ORDER BY oldest_time LIMIT ?", (before, limit)
    )
    return [thread_id for (thread_id,) in rows]


def trim(thread_id: str, before: int, keep: int, now: int, connection: sqlite3.Connection) -> bool:
    row = connection.execute("SELECT first_event, last_event FROM threads WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is None:
        return False
    first, last = row
    kept_from = _kept_from(connection, thread_id, first, last - keep + 1, before)
    connection.execute("DELETE FROM events WHERE thread_id = ? AND sequence < ?", (thread_id, kept_from))
    oldest = connection.execute(
        "SELECT time FROM events WHERE thread_id = ? AND sequence = ?", (thread_id, kept_from)
    ).fetchone()
    connection.execute(
        "UPDATE threads SET first_event = ?, oldest_time = ? WHERE thread_id = ?",
        (kept_from, oldest[0] if oldest else now, thread_id),
    )
    others = [
        _trim_others(connection, "tombstones", "delete_time", "run_id", thread_id, before, keep),
        _trim_others(connection, "requests", "create_time", "request_id", thread_id, before, keep),
    ]
    return kept_from - first == BATCH or BATCH in others


def _kept_from(connection: sqlite3.Connection, thread_id: str, first: int, counted: int, before: int) -> int:
    """The sequence of the first event to keep: all before it are too many or too old, and no more than a batch."""
    times = connection.execute(
        "SELECT sequence, time FROM events WHERE thread_id = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
        (thread_id, first, BATCH),
    )
    for sequence, time in times:
        if sequence >= counted and time >= before:
            return int(sequence)
        first = sequence + 1
    return first


def _trim_others(
    connection: sqlite3.Connection, table: str, time: str, key: str, thread_id: str, before: int, keep: int
) -> int:
    return connection.execute(
        f"DELETE FROM {table} WHERE thread_id = ?1 AND {key} IN ("
        f"  SELECT {key} FROM ("
        f"    SELECT {key}, {time} AS time, row_number() OVER (ORDER BY {time} DESC) AS place"
        f"    FROM {table} WHERE thread_id = ?1)"
        f"  WHERE time < ?2 OR place > ?3 LIMIT ?4)",
        (thread_id, before, keep, BATCH),
    ).rowcount


def inactive(since: int, limit: int, connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT thread_id FROM threads WHERE active_time <= ? ORDER BY active_time LIMIT ?", (since, limit)
    )
    return [thread_id for (thread_id,) in rows]


def still_active(thread_id: str, now: int, connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE threads SET active_time = CASE WHEN stopping_until IS NOT NULL OR EXISTS ("
        "SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND end_time IS NULL"
        ") THEN ? ELSE update_time END WHERE thread_id = ?",
        (now, thread_id),
    )
