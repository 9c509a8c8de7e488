"""Check whether a database file is sound: as a file of SQLite, and in what it says of threads, runs, steps and events.

The check only reads. It repairs nothing.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Final

from doubletext_server.store.check.columns import json_rules, schema_rules
from doubletext_server.store.check.listing import LIST_RULES, know_labels
from doubletext_server.store.check.report import Kind, Report, counted
from doubletext_server.store.check.rules import RULES, Rule
from doubletext_server.store.check.snapshots import check_snapshots
from doubletext_server.store.check.threads import ThreadCheck
from doubletext_server.store.sqlite.schema import MIGRATIONS, CannotOpen, migrate
from doubletext_server.store.sqlite.visit import visit
from doubletext_server.store.vocabulary import VOCABULARY

__all__ = ["Kind", "Report", "check", "counted"]


def check(path: str) -> Report:
    """Check the whole file, as it was committed when the call began.

    Do not call this in the process that serves the file. A damaged part that cannot be read is reported, and the check
    goes on with the next part. Raises CannotOpen for a file that is not a doubletext database, that cannot be read at
    all, or that has the schema of another version.
    """
    report = Report()
    with visit(path) as connection:
        _require_version(connection, path)
        _hide_what_is_deleted(connection)
        for name, part in PARTS.items():
            with _as_far_as_it_can_be_read(report, name):
                part(connection, report)
    return report


@contextlib.contextmanager
def _as_far_as_it_can_be_read(report: Report, what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        report.add(Kind.FILE, f"cannot check {what}: {error}")


def _hide_what_is_deleted(connection: sqlite3.Connection) -> None:
    """Let all parts see the file without the rows of deleted threads and of steps that were cut off, as readers do."""
    if connection.execute("SELECT 1 FROM doomed UNION ALL SELECT 1 FROM cuts").fetchone() is None:
        return
    for table in ("runs", "steps", "snapshots", "events", "tombstones", "requests", "run_labels"):
        cut = ""
        if table in ("steps", "snapshots"):
            cut = (
                " AND NOT EXISTS (SELECT 1 FROM main.cuts JOIN main.threads t USING (thread_id)"
                " WHERE t.thread_id = x.thread_id AND x.step > t.last_step)"
            )
        connection.execute(
            f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} x "
            f"WHERE thread_id NOT IN (SELECT thread_id FROM main.doomed){cut}"
        )


def _require_version(connection: sqlite3.Connection, path: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise CannotOpen(
            f"{path} has schema version {version}, which is newer than {len(MIGRATIONS)}; use a newer check"
        )
    if version < len(MIGRATIONS):
        raise CannotOpen(
            f"{path} has schema version {version}, this checks {len(MIGRATIONS)}; "
            "serve it, or a copy of it, once, which brings it up to date"
        )


def _integrity(connection: sqlite3.Connection, report: Report) -> None:
    try:
        found = connection.execute("PRAGMA integrity_check(1000000)").fetchall()
    except sqlite3.DatabaseError:  # its findings are lost, unless it stops at the first one
        found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    for (text,) in found:
        for line in str(text).splitlines():
            if line not in ("ok", "*** in database main ***"):
                report.add(Kind.FILE, line)


def _schema(connection: sqlite3.Connection, report: Report) -> None:
    """The file must have the tables, indexes, CHECKs and lists of words that keep wrong rows out of it."""
    with _model() as model:
        wanted = _definitions(model)
    there = _definitions(connection)
    for name in sorted(wanted.keys() | there.keys()):
        if name not in there:
            report.add(Kind.SCHEMA, f"{name} is missing")
        elif name not in wanted:
            report.add(Kind.SCHEMA, f"{name} does not belong there")
        elif wanted[name] != there[name]:
            report.add(Kind.SCHEMA, f"{name} is defined in another way")
    for table, words in VOCABULARY.items():
        held = {word for (word,) in connection.execute(f"SELECT * FROM {table}")}
        for word in sorted(held.symmetric_difference(words)):
            report.add(Kind.SCHEMA, f"{table} {'lacks' if word in words else 'has the unknown word'} {word}")


@contextlib.contextmanager
def _model() -> Iterator[sqlite3.Connection]:
    """Give an empty database with the schema that the file must have."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model)
        yield model


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the definitions of tables and indexes by their names, without those that SQLite makes itself."""
    return {
        f"{kind} {name}": " ".join(sql.split())
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        if not name.startswith("sqlite_")
    }


def _references(connection: sqlite3.Connection, report: Report) -> None:
    """Report the rows that refer to a missing row. foreign_key_check only says in which tables they are."""
    broken = connection.execute('SELECT DISTINCT "table", parent, fkid FROM pragma_foreign_key_check').fetchall()
    for table, parent, number in broken:
        column, key = connection.execute(
            "SELECT \"from\", name FROM pragma_foreign_key_list(?, 'main') "
            "JOIN pragma_table_info(?, 'main') ON pk = 1 WHERE id = ?",
            (table, parent, number),
        ).fetchone()
        for row in connection.execute(
            f"SELECT {column}, count(*) FROM main.{table} "
            f"WHERE {column} NOT IN (SELECT {key} FROM {parent} UNION ALL SELECT thread_id FROM doomed) GROUP BY 1"
        ):
            refer = f"{counted(row[1], 'row')} of {table} {'refers' if row[1] == 1 else 'refer'}"
            report.add(Kind.REFERENCE, f"{refer} to {column} {row[0]}, which is not in {parent}")


def _rules(connection: sqlite3.Connection, report: Report) -> None:
    know_labels(connection)
    with _model() as model:
        rules = (*RULES, *LIST_RULES, *json_rules(), *schema_rules(model))
    for rule in rules:
        with _as_far_as_it_can_be_read(report, f"{rule.kind.value} in full"):
            _apply(connection, report, rule)


def _apply(connection: sqlite3.Connection, report: Report, rule: Rule) -> None:
    for where, what in connection.execute(rule.query):
        report.add(rule.kind, f"{where}: {what}")


def _threads(connection: sqlite3.Connection, report: Report) -> None:
    for thread_id, first_event, *counters in connection.execute(
        "SELECT thread_id, first_event, last_sequence, last_step, last_event FROM threads"
    ):
        with _as_far_as_it_can_be_read(report, f"thread {thread_id}"):
            ThreadCheck(connection, report, thread_id, first_event).run(*counters)


def _snapshots(connection: sqlite3.Connection, report: Report) -> None:
    for (thread_id,) in connection.execute("SELECT DISTINCT thread_id FROM snapshots"):
        with _as_far_as_it_can_be_read(report, f"snapshots of thread {thread_id}"):
            check_snapshots(connection, report, thread_id)


def _totals(connection: sqlite3.Connection, report: Report) -> None:
    (report.threads, report.runs, report.steps, report.events) = (
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("threads", "runs", "steps", "events")
    )


PARTS: Final[dict[str, Callable[[sqlite3.Connection, Report], None]]] = {
    "the integrity of the file": _integrity,
    "the schema": _schema,
    "references": _references,
    "rows": _rules,
    "threads": _threads,
    "snapshots": _snapshots,
    "how much there is": _totals,
}
