"""Rules about single rows: the CHECKs of the schema hold, and a column for a JSON object holds one."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from doubletext_server.store.check.report import Kind
from doubletext_server.store.check.rules import Rule, quoted
from doubletext_statemachine.words import Reducer

NAMES: Final = {
    "assistants": "'assistant ' || assistant_id",
    "threads": "'thread ' || thread_id",
    "runs": "'thread ' || thread_id || ', run ' || run_id",
    "steps": "'thread ' || thread_id || ', step ' || step",
    "snapshots": "'thread ' || thread_id || ', snapshot of step ' || step",
    "events": "'thread ' || thread_id || ', event ' || sequence",
    "tombstones": "'thread ' || thread_id || ', tombstone of run ' || run_id",
    "requests": "'thread ' || thread_id || ', request id ' || request_id",
}
"""How a report names a row of each table, as SQL."""

OBJECTS: Final = {
    "assistants": ("metadata", "config", "reducers"),
    "threads": ("metadata",),
    "runs": ("input", "metadata"),
    "steps": ("reducers", "body"),
    "snapshots": ("body",),
}
"""The columns that hold a JSON object, or NULL for a default."""

_UNKNOWN_REDUCER: Final = (
    f" WHEN EXISTS (SELECT 1 FROM json_each(reducers) WHERE value NOT IN ({quoted(Reducer)})) "
    "THEN 'reducers names one that does not exist'"
)


def json_rules() -> Iterator[Rule]:
    for table, columns in OBJECTS.items():
        found = " ".join(
            f"WHEN {column} IS NOT NULL AND NOT json_valid({column}) THEN '{column} is not JSON' "
            f"WHEN json_type({column}) <> 'object' THEN '{column} is not a JSON object'"
            + (_UNKNOWN_REDUCER if column == "reducers" else "")
            for column in columns
        )
        yield _rule(Kind.JSON, table, f"CASE {found} END")


def schema_rules(model: sqlite3.Connection) -> Iterator[Rule]:
    """Make rules of the CHECKs of a database. SQLite applies a CHECK only when a row is written."""
    for table, sql in model.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"):
        for check in _checks(sql):
            yield _rule(Kind.SCHEMA, table, f"CASE WHEN NOT ({check}) THEN {_literal(f'breaks CHECK ({check})')} END")


def _rule(kind: Kind, table: str, what: str) -> Rule:
    return Rule(kind, f"SELECT {NAMES[table]}, {what} AS what FROM {table} NOT INDEXED WHERE what IS NOT NULL")


def _checks(sql: str) -> Iterator[str]:
    """Yield the text in the parentheses after each CHECK. No string in our schema contains a parenthesis."""
    for part in sql.split("CHECK (")[1:]:
        depth = 1
        for at, character in enumerate(part):
            depth += (character == "(") - (character == ")")
            if not depth:
                yield " ".join(part[:at].split())
                break


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
