"""Rules about what lists are read from: the labels of metadata, and each thread's outcome, agree with the rows."""

import sqlite3
from typing import Final

from doubletext_server.store.check.report import Kind
from doubletext_server.store.check.rules import Rule
from doubletext_server.store.sqlite import labels
from doubletext_statemachine.words import STATUS_AFTER


def know_labels(connection: sqlite3.Connection) -> None:
    """Give the connection the SQL function that LIST_RULES call."""
    connection.create_function("labels", 1, labels.as_json, deterministic=True)


# Metadata that is not a JSON object has no labels; the rules about JSON report it.
_LABELS: Final = (
    "labels(CASE WHEN NOT json_valid({0}.metadata) THEN '{{}}' "
    "WHEN json_type({0}.metadata) <> 'object' THEN '{{}}' ELSE {0}.metadata END)"
)
_LEFT: Final = " ".join(
    f"WHEN '{status.value}' THEN '{after.value}'" for status, after in STATUS_AFTER.items() if status
)

LIST_RULES: Final = (
    # A thread's outcome follows from the newest of its finished runs.
    Rule(
        Kind.LIST,
        f"""SELECT 'thread ' || thread_id,
            'is listed as ' || outcome || ', but its newest finished run left it ' || newest
        FROM (SELECT thread_id, outcome, coalesce((SELECT CASE status {_LEFT} ELSE outcome END
            FROM runs r WHERE r.thread_id = t.thread_id AND end_time IS NOT NULL
            ORDER BY end_time DESC, sequence DESC LIMIT 1), '{STATUS_AFTER[None].value}') AS newest
            FROM threads t NOT INDEXED)
        WHERE outcome <> newest""",
    ),
    # Each key of the metadata of a thread or a run has its label, and there are no other labels.
    Rule(
        Kind.LIST,
        f"""SELECT 'thread ' || thread_id, 'a key of its metadata has no label'
        FROM threads t NOT INDEXED, json_each({_LABELS.format("t")}) e
        WHERE metadata <> '{{}}' AND NOT EXISTS (SELECT 1 FROM thread_labels l
            WHERE l.label = e.value AND l.create_time = t.create_time AND l.thread_id = t.thread_id)""",
    ),
    Rule(
        Kind.LIST,
        f"""SELECT 'thread ' || l.thread_id, 'it has the label ' || label || ', which none of its metadata has'
        FROM thread_labels l LEFT JOIN threads t ON t.thread_id = l.thread_id AND t.create_time = l.create_time
        WHERE t.thread_id IS NULL OR label NOT IN (SELECT value FROM json_each({_LABELS.format("t")}))""",
    ),
    Rule(
        Kind.LIST,
        f"""SELECT 'thread ' || thread_id || ', run ' || run_id, 'a key of its metadata has no label'
        FROM runs r NOT INDEXED, json_each({_LABELS.format("r")}) e
        WHERE metadata <> '{{}}' AND NOT EXISTS (SELECT 1 FROM run_labels l
            WHERE l.thread_id = r.thread_id AND l.label = e.value AND l.sequence = r.sequence)""",
    ),
    Rule(
        Kind.LIST,
        f"""SELECT 'thread ' || l.thread_id,
            coalesce('run ' || run_id, 'a run that is not there, of sequence ' || l.sequence)
                || ' has the label ' || label || ', which none of its metadata has'
        FROM run_labels l LEFT JOIN runs r ON r.thread_id = l.thread_id AND r.sequence = l.sequence
        WHERE r.run_id IS NULL OR label NOT IN (SELECT value FROM json_each({_LABELS.format("r")}))""",
    ),
)
