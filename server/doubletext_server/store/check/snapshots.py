"""Each snapshot must be the fold of the steps up to its own."""

import sqlite3
from collections.abc import Iterator
from typing import Any

from doubletext import jsontext
from doubletext_server.store.check.report import Kind, Report
from doubletext_server.store.rows import read_change
from doubletext_statemachine.state import Change, fold


def check_snapshots(connection: sqlite3.Connection, report: Report, thread_id: str) -> None:
    """Fold the thread's steps from one snapshot to the next. One state and one snapshot are in memory at a time."""
    values: dict[str, Any] = {}
    at = 0
    for step, body, there in connection.execute(
        "SELECT n.step, n.body, s.step FROM snapshots n LEFT JOIN steps s USING (thread_id, step) "
        "WHERE thread_id = ? ORDER BY n.step",
        (thread_id,),
    ):
        where = f"thread {thread_id}, snapshot of step {step}"
        if there is None:
            report.add(Kind.SNAPSHOT, f"{where}: that step is not there")
            continue
        try:
            fold(values, _updates(connection, thread_id, at, step))
            if jsontext.canonical(body) != jsontext.canonical(jsontext.written(values)):
                report.add(Kind.SNAPSHOT, f"{where}: it is not what the steps up to there amount to")
        except (ValueError, AttributeError) as error:
            report.add(Kind.SNAPSHOT, f"{where}: it, or a step up to there, cannot be read: {error}")
            return
        at = step


def _updates(connection: sqlite3.Connection, thread_id: str, after: int, up_to: int) -> Iterator[Change]:
    rows = connection.execute(
        "SELECT body, reducers, rules FROM steps WHERE thread_id = ? AND step > ? AND step <= ? ORDER BY step",
        (thread_id, after, up_to),
    )
    return (read_change(*row) for row in rows)
