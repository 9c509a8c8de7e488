"""Removing what was deleted and was too much for one commit: a slice at a time, so that nobody waits for it.

A thread that is deleted is gone at once, since its row is; `doomed` names it until the rest has gone too. Steps that a
rollback cuts off have higher numbers than the thread's last one; `cuts` names the thread until they have gone. What
takes such a number anew takes the place of what is left there. See docs/decisions/0058.
"""

import sqlite3
from typing import Final

SLICE: Final = 500
"""Rows that one commit removes at most."""
SLICE_BYTES: Final = 1024 * 1024
"""Characters after which a slice ends."""

_BY_NUMBER: Final = (
    ("events", "sequence", "length(body)"),
    ("steps", "step", "length(body)"),
    ("snapshots", "step", "length(body)"),
    ("runs", "sequence", "length(input) + length(metadata)"),
)
_BY_KEY: Final = (("run_labels", "label, sequence"), ("tombstones", "run_id"), ("requests", "request_id"))


def purge(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Remove a slice of what a deleted thread has left. Returns whether nothing is left."""
    rows, size = SLICE, SLICE_BYTES
    for table, number, length in _BY_NUMBER:
        found = connection.execute(
            f"SELECT {number}, {length} FROM {table} WHERE thread_id = ? ORDER BY {number} LIMIT ?", (thread_id, rows)
        )
        last = None
        for place, characters in found:
            last, rows, size = place, rows - 1, size - (characters or 0)
            if size <= 0:
                break
        if last is not None:
            connection.execute(f"DELETE FROM {table} WHERE thread_id = ? AND {number} <= ?", (thread_id, last))
        if rows <= 0 or size <= 0:
            return False
    for table, key in _BY_KEY:
        rows -= connection.execute(
            f"DELETE FROM {table} WHERE thread_id = ?1 AND ({key}) IN "
            f"(SELECT {key} FROM {table} WHERE thread_id = ?1 LIMIT ?2)",
            (thread_id, rows),
        ).rowcount
        if rows <= 0:
            return False
    return True


def leftovers(connection: sqlite3.Connection) -> set[str]:
    """The threads that were deleted and of which something is left."""
    return {thread_id for (thread_id,) in connection.execute("SELECT thread_id FROM doomed")}


def delete_thread(connection: sqlite3.Connection, thread_id: str, left: set[str]) -> None:
    """Delete the thread, and of what it has as much as is a slice. It is added to `left` if that is not all."""
    connection.execute("DELETE FROM threads WHERE thread_id = ?", (thread_id,))
    connection.execute("DELETE FROM cuts WHERE thread_id = ?", (thread_id,))
    if not purge(connection, thread_id):
        left.add(thread_id)
        connection.execute("INSERT INTO doomed (thread_id) VALUES (?)", (thread_id,))


def make_room(connection: sqlite3.Connection, thread_id: str, left: set[str]) -> None:
    """Remove all that an earlier thread of this id has left, before the new one is created.

    left  threads that may have left something: new threads are many, and this spares most of them a statement
    """
    if thread_id in left and connection.execute("DELETE FROM doomed WHERE thread_id = ?", (thread_id,)).rowcount:
        while not purge(connection, thread_id):  # mutant: room-made
            pass


def cut_steps(connection: sqlite3.Connection, thread_id: str, after: int) -> None:
    """Delete the steps after one, the last ones first, as many as are a slice."""
    if not _cut_slice(connection, thread_id, after):
        connection.execute("INSERT OR IGNORE INTO cuts (thread_id) VALUES (?)", (thread_id,))


def replace_step(connection: sqlite3.Connection, thread_id: str, step: int) -> bool:
    """Remove what is left of a step that was cut off, before another one takes its number. Returns whether it was."""
    if (
        connection.execute("SELECT 1 FROM cuts WHERE thread_id = ?", (thread_id,)).fetchone() is None
    ):  # mutant: cut-step
        return False
    for table in ("snapshots", "steps"):
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ? AND step = ?", (thread_id, step))
    return True


def _cut_slice(connection: sqlite3.Connection, thread_id: str, after: int) -> bool:
    rows, size, first = SLICE, SLICE_BYTES, None
    for step, characters in connection.execute(
        "SELECT step, length(body) FROM steps WHERE thread_id = ? AND step > ? ORDER BY step DESC LIMIT ?",
        (thread_id, after, rows),
    ):
        first, rows, size = step, rows - 1, size - characters
        if size <= 0:
            break
    if first is not None:
        for table in ("snapshots", "steps"):
            connection.execute(f"DELETE FROM {table} WHERE thread_id = ? AND step >= ?", (thread_id, first))
    return rows > 0 and size > 0


def untidy(connection: sqlite3.Connection) -> bool:
    """Whether something that was deleted is still there."""
    return connection.execute("SELECT 1 FROM doomed UNION ALL SELECT 1 FROM cuts LIMIT 1").fetchone() is not None


def tidy(connection: sqlite3.Connection) -> bool:
    """Remove a slice of what was deleted. Returns whether more may be left."""
    row = connection.execute("SELECT thread_id FROM doomed LIMIT 1").fetchone()
    if row is not None:
        if purge(connection, row[0]):
            connection.execute("DELETE FROM doomed WHERE thread_id = ?", row)
        return True
    row = connection.execute("SELECT thread_id, last_step FROM cuts JOIN threads USING (thread_id) LIMIT 1").fetchone()
    if row is not None:
        if _cut_slice(connection, *row):
            connection.execute("DELETE FROM cuts WHERE thread_id = ?", row[:1])
        return True
    return False
