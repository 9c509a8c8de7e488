"""The same statuses and reasons in the domain, on the wire, and in the database."""

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from doubletext.v1 import errors_pb2
from doubletext.v1 import resources_pb2 as pb
from doubletext_server.grpc.wire import enums
from doubletext_server.store.sqlite import schema
from doubletext_statemachine.words import (
    IN_FLIGHT,
    STATUS_AFTER,
    STOPPED,
    TERMINAL,
    LeaseCause,
    Reason,
    RunStatus,
    Strategy,
    ThreadStatus,
)


def test_each_status_is_either_in_flight_or_terminal() -> None:
    assert {status.value for status in IN_FLIGHT} == {"pending", "running"}
    assert {status.value for status in TERMINAL} == {"interrupted", "success", "error", "timeout", "deleted"}
    assert frozenset(RunStatus) == IN_FLIGHT | TERMINAL
    assert {status.value for status in TERMINAL - STOPPED} == {"success", "error"}


def test_each_status_has_a_number_on_the_wire_and_each_number_a_status() -> None:
    assert set(enums.RUN_STATUS) == set(RunStatus)
    named: dict[int, str] = {number: name for name, number in pb.RunStatus.items()}
    assert {named[number] for number in enums.RUN_STATUS.values()} == set(pb.RunStatus.keys()) - {
        "RUN_STATUS_UNSPECIFIED"
    }
    for status, number in enums.RUN_STATUS.items():
        assert named[number] == f"RUN_STATUS_{status.name}"


def names(words: Any, prefix: str) -> set[str]:
    """The names of an enum of the protos as they stand on the wire."""
    return {name.removeprefix(prefix) for name, _ in words.items()} - {"UNSPECIFIED"}


def test_each_reason_of_a_run_stands_in_the_protos_and_no_other_does() -> None:
    assert names(errors_pb2.RunReason, "RUN_REASON_") == {reason.value for reason in Reason}


def test_each_cause_of_a_lost_lease_stands_in_the_protos_and_no_other_does() -> None:
    assert names(errors_pb2.LeaseCause, "LEASE_CAUSE_") == set(LeaseCause)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The definitions of the tables after all migrations."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    path.touch()
    schema.prepare(str(path))
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))


@pytest.fixture(scope="module")
def runs_sql(tables: dict[str, str]) -> str:
    return tables["runs"]


def words(sql: str, pattern: str) -> set[str]:
    """The quoted words in the parenthesis that follows `pattern`."""
    found = re.findall(pattern + r"\s*\(([^()]*)\)", sql)
    assert len(found) == 1, f"{pattern!r} stands {len(found)} times in the schema"
    return set(re.findall(r"'(\w+)'", found[0]))


def test_the_database_stores_every_status_except_deleted(runs_sql: str) -> None:
    assert words(runs_sql, r"CHECK \(\s*status IN") == {status.value for status in RunStatus} - {"deleted"}


def test_a_thread_is_found_by_each_status_that_no_run_in_flight_gives_it(tables: dict[str, str]) -> None:
    resting = words(tables["threads"], r"CHECK \(outcome IN")
    assert resting == {status.value for status in STATUS_AFTER.values()}
    assert resting == {status.value for status in ThreadStatus} - {"busy"}


def test_the_database_gives_an_end_to_terminal_runs_only(runs_sql: str) -> None:
    assert words(runs_sql, r"\(end_time IS NULL\) = \(status IN") == {status.value for status in IN_FLIGHT}


def test_the_database_stores_every_strategy(runs_sql: str) -> None:
    assert words(runs_sql, r"CHECK \(strategy IN") == {strategy.value for strategy in Strategy}
