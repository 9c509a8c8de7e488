"""What lists by metadata are served from: a label for each of its keys with its value, beside the row it is of.

A label is a digest. It is the same for equal values, however they were written, it is short whatever the value's
length, and it gives away nothing of a run that was rolled back, should SQLite leave copies of it behind.
See docs/decisions/0030.
"""

import json
import sqlite3
from hashlib import blake2b
from typing import Any, Final

from doubletext import jsontext
from doubletext_server.store.rows import Row
from doubletext_statemachine.model import Json

EMPTY: Final[Json] = "{}"


def of(metadata: Json) -> list[str]:
    """The labels of a JSON object, one for each of its keys."""
    return [_label(key, value) for key, value in jsontext.by_value(metadata).items()]


def as_json(metadata: Json) -> str:
    """The labels as SQL sees them, for a migration."""
    return json.dumps(of(metadata))


def _label(key: str, value: Any) -> str:
    return blake2b(jsontext.in_ascii([key, value]).encode(), digest_size=16).hexdigest()


def add_thread(connection: sqlite3.Connection, row: Row) -> None:
    """row: of rows.THREAD"""
    thread_id, created, _, metadata = row[:4]
    if metadata == EMPTY:
        return
    connection.executemany(
        "INSERT INTO thread_labels (label, create_time, thread_id) VALUES (?, ?, ?)",
        [(label, created, thread_id) for label in of(metadata)],
    )


def remove_thread(connection: sqlite3.Connection, thread_id: str) -> None:
    """Before the thread's metadata changes, or goes."""
    row = connection.execute("SELECT metadata, create_time FROM threads WHERE thread_id = ?", (thread_id,)).fetchone()
    if row is None or row[0] == EMPTY:
        return
    connection.executemany(
        "DELETE FROM thread_labels WHERE label = ? AND create_time = ? AND thread_id = ?",
        [(label, row[1], thread_id) for label in of(row[0])],
    )


def add_run(connection: sqlite3.Connection, row: Row) -> None:
    """row: of rows.RUN and rows.GIVEN"""
    metadata = row[-1]
    if metadata == EMPTY:
        return
    _, thread_id, sequence = row[:3]
    connection.executemany(
        "INSERT INTO run_labels (thread_id, label, sequence) VALUES (?, ?, ?)",
        [(thread_id, label, sequence) for label in of(metadata)],
    )


def remove_run(connection: sqlite3.Connection, thread_id: str, sequence: int, metadata: Json) -> None:
    if metadata == EMPTY:
        return
    connection.executemany(
        "DELETE FROM run_labels WHERE thread_id = ? AND label = ? AND sequence = ?",
        [(thread_id, label, sequence) for label in of(metadata)],
    )
