"""Files in which much has happened already, written straight into the tables: what the service itself would have
written, row for row, for runs of the graph `echo`. `doubletext check` finds nothing wrong with them; a test sees to it.

Nothing of what is planted is counted as measured.
"""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from doubletext_server.clock import system_clock
from doubletext_server.store.rows import assistant_row
from doubletext_server.store.sqlite.schema import prepare
from doubletext_statemachine.model import Assistant

AGO: Final = 3600 * 1_000_000
"""Microseconds: recent enough for nothing to be trimmed."""


@dataclass(frozen=True)
class Group:
    """`threads` threads named NAME-0000001 and on, each with so many finished runs (two steps and five events each) and
    `queued` pending ones behind them.

    number  tells the ids of its runs from those of other groups in the file
    """

    name: str
    number: int
    threads: int
    runs: int = 0
    queued: int = 0
    assistant: str = "echo"

    def thread_id(self, number: int) -> str:
        """From 1."""
        return f"{self.name}-{number:07d}"


_RUN_ID: Final = "printf('%08x-%04x-7000-8000-%012x', t.n, :number, r.n)"
_THREAD_ID: Final = "printf('%s-%07d', :name, t.n)"
_PAIRS: Final = "FROM numbers t CROSS JOIN numbers r WHERE t.n <= :threads AND r.n <= "
_SAID: Final = "What''s the weather in San Francisco today?"
_INPUT: Final = f"""'{{"messages":[{{"content":"{_SAID}","role":"user"}}]}}'"""
_ANSWER: Final = f"""printf('{{"messages":[{{"content":"{_SAID}","id":"%s-1","role":"assistant"}}]}}', {_RUN_ID})"""

THREADS: Final = f"""
    INSERT INTO threads (thread_id, create_time, update_time, metadata, last_sequence, last_step, last_event,
                         max_queued_runs, oldest_time, active_time)
    SELECT {_THREAD_ID}, :at, :at + 1000 * :runs, '{{}}', :runs + :queued, 2 * :runs, 5 * :runs + :queued,
           1000000, :at, :at
    FROM numbers t WHERE t.n <= :threads"""

FINISHED: Final = f"""
    INSERT INTO runs (run_id, thread_id, sequence, assistant_key, strategy, create_time, due_time, status, attempt,
                      epoch, start_time, end_time, base_step, last_step, input, metadata, first_event)
    SELECT {_RUN_ID}, {_THREAD_ID}, r.n, :key, 'enqueue', :at + 1000 * r.n - 900, :at + 1000 * r.n - 900, 'success', 1,
           1, :at + 1000 * r.n - 500, :at + 1000 * r.n, 2 * r.n - 2, 2 * r.n, {_INPUT}, '{{}}', 5 * r.n - 4
    {_PAIRS} :runs"""

STEPS: Final = f"""
    INSERT INTO steps (thread_id, step, run_id, create_time, body)
    SELECT {_THREAD_ID}, 2 * r.n - 2 + s.n, {_RUN_ID}, :at + 1000 * r.n - 1000 + 500 * s.n,
           iif(s.n = 1, {_INPUT}, {_ANSWER})
    FROM numbers t CROSS JOIN numbers r CROSS JOIN numbers s WHERE t.n <= :threads AND r.n <= :runs AND s.n <= 2"""

EVENTS: Final = f"""
    INSERT INTO events (thread_id, sequence, run_id, time, kind, step, body)
    SELECT {_THREAD_ID}, 5 * r.n - 5 + e.n, {_RUN_ID}, :at + 1000 * r.n - e.before, e.kind, 2 * r.n - 2 + e.step, e.body
    FROM numbers t CROSS JOIN numbers r CROSS JOIN kinds e WHERE t.n <= :threads AND r.n <= :runs"""

KINDS: Final = (
    #n  before  kind              step  body
    (1, 900, "run_changed", None, '[null, "pending", null, null]'),
    (2, 500, "run_changed", None, '["pending", "running", null, null]'),
    (3, 500, "step_committed", 1, None),
    (4, 0, "step_committed", 2, None),
    (5, 0, "run_changed", None, '["running", "success", null, null]'),
)  # fmt: skip

_LATER: Final = _RUN_ID.replace("r.n", "(:runs + r.n)")
QUEUED: Final = f"""
    INSERT INTO runs (run_id, thread_id, sequence, assistant_key, strategy, create_time, due_time, status, attempt,
                      epoch, last_step, input, metadata, first_event)
    SELECT {_LATER}, {_THREAD_ID}, :runs + r.n, :key, 'enqueue', :at + 1000 * :runs, :at + 1000 * :runs, 'pending', 0,
           0, 0, {_INPUT}, '{{}}', 5 * :runs + r.n
    {_PAIRS} :queued"""

ADMITTED: Final = f"""
    INSERT INTO events (thread_id, sequence, run_id, time, kind, body)
    SELECT {_THREAD_ID}, 5 * :runs + r.n, {_LATER}, :at + 1000 * :runs, 'run_changed', '[null, "pending", null, null]'
    {_PAIRS} :queued"""


def plant(path: Path, *groups: Group) -> Path:
    """Make the file, with these groups in it, and return its path."""
    path.touch(0o600)  # the server takes no file that others may read
    prepare(str(path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # It is thrown away if the machine goes down meanwhile; the server that opens it sets its own.
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN"
        )
        connection.execute("CREATE TEMP TABLE numbers (n INTEGER PRIMARY KEY)")
        most = max((max(each.threads, each.runs, each.queued) for each in groups), default=0)
        connection.executemany("INSERT INTO numbers VALUES (?)", ((n,) for n in range(1, max(most, 2) + 1)))
        connection.execute("CREATE TEMP TABLE kinds (n INTEGER PRIMARY KEY, before, kind, step, body)")
        connection.executemany("INSERT INTO kinds VALUES (?, ?, ?, ?, ?)", KINDS)
        for group in groups:
            _plant(connection, group, system_clock() - AGO)
        connection.execute("COMMIT")
    return path


def _plant(connection: sqlite3.Connection, group: Group, at: int) -> None:
    given = {**vars(group), "at": at, "key": _assistant(connection, group.assistant, at)}
    for statement in (THREADS, FINISHED, STEPS, EVENTS, QUEUED, ADMITTED):
        connection.execute(statement, given)


def _assistant(connection: sqlite3.Connection, name: str, at: int) -> int:
    row = connection.execute("SELECT key FROM assistants WHERE assistant_id = ?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    made = connection.execute(
        "INSERT INTO assistants (assistant_id, graph, create_time, metadata, config, reducers, max_attempts, "
        "stop_grace, run_timeout) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        assistant_row(Assistant(0, name, name, at)),
    )
    assert made.lastrowid is not None
    return made.lastrowid
