"""The same words in the domain, on the wire, and in the database."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from enum import Enum
from typing import Any

import pytest

from doubletext.v1 import errors_pb2
from doubletext.v1 import resources_pb2 as pb
from doubletext_server.grpc.wire import enums
from doubletext_server.store.sqlite import schema
from doubletext_server.store.vocabulary import VOCABULARY
from doubletext_statemachine.words import (
    IN_FLIGHT,
    STOPPED,
    TERMINAL,
    LeaseCause,
    OnFailure,
    QueuePolicy,
    Reason,
    RunStatus,
    Strategy,
    ThreadStatus,
)


def test_each_status_is_either_in_flight_or_terminal() -> None:
    assert {status.value for status in IN_FLIGHT} == {"pending", "running"}
    assert {status.value for status in TERMINAL} == {"interrupted", "success", "error", "timeout", "deleted", "merged"}
    assert frozenset(RunStatus) == IN_FLIGHT | TERMINAL
    assert {status.value for status in TERMINAL - STOPPED} == {"success", "error", "merged"}


@pytest.mark.parametrize(
    ("prefix", "words", "numbers", "on_the_wire"),
    [
        ("ON_FAILURE", OnFailure, enums.ON_FAILURE, pb.OnFailure),
        ("RUN_STATUS", RunStatus, enums.RUN_STATUS, pb.RunStatus),
        ("THREAD_STATUS", ThreadStatus, enums.THREAD_STATUS, pb.ThreadStatus),
        ("MULTITASK_STRATEGY", Strategy, enums.STRATEGY, pb.MultitaskStrategy),
        ("QUEUE_POLICY", QueuePolicy, enums.QUEUE_POLICY, pb.QueuePolicy),
    ],
)
def test_each_word_has_a_number_on_the_wire_and_each_number_a_word(
    prefix: str, words: type[Enum], numbers: Mapping[Enum, int], on_the_wire: Any
) -> None:
    assert set(numbers) == set(words)
    named = {number: name for name, number in on_the_wire.items()}
    assert {named[number] for number in numbers.values()} == set(on_the_wire.keys()) - {f"{prefix}_UNSPECIFIED"}
    for word, number in numbers.items():
        assert named[number] == f"{prefix}_{word.name}"


def names(words: Any, prefix: str) -> set[str]:
    """The names of an enum of the protos as they stand on the wire."""
    return {name.removeprefix(prefix) for name, _ in words.items()} - {"UNSPECIFIED"}


def test_each_reason_of_a_run_stands_in_the_protos_and_no_other_does() -> None:
    assert names(errors_pb2.RunReason, "RUN_REASON_") == {reason.value for reason in Reason}


def test_each_cause_of_a_lost_lease_stands_in_the_protos_and_no_other_does() -> None:
    assert names(errors_pb2.LeaseCause, "LEASE_CAUSE_") == set(LeaseCause)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """An empty file after all migrations."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    path.touch()
    schema.prepare(str(path))
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def test_the_store_accepts_every_strategy_every_status_but_deleted_and_every_outcome_but_busy() -> None:
    assert {table: set(words) for table, words in VOCABULARY.items()} == {
        "strategies": {strategy.value for strategy in Strategy},
        "queue_policies": {policy.value for policy in QueuePolicy},
        "run_statuses": {status.value for status in RunStatus} - {"deleted"},
        "outcomes": {status.value for status in ThreadStatus} - {"busy"},
        "on_failures": {word.value for word in OnFailure},
        "event_kinds": {field.name for field in pb.Event.DESCRIPTOR.oneofs_by_name["kind"].fields},
    }


@pytest.mark.parametrize("table", list(VOCABULARY))
def test_the_database_holds_each_list_of_words(database: sqlite3.Connection, table: str) -> None:
    assert {word for (word,) in database.execute(f"SELECT * FROM {table}")} == set(VOCABULARY[table])


@pytest.mark.parametrize(
    ("column", "table"),
    [
        ("runs.status", "run_statuses"),
        ("runs.strategy", "strategies"),
        ("runs.queue_policy", "queue_policies"),
        ("threads.default_queue_policy", "queue_policies"),
        ("threads.default_strategy", "strategies"),
        ("threads.outcome", "outcomes"),
        ("threads.on_failure", "on_failures"),
        ("events.kind", "event_kinds"),
    ],
)
def test_a_column_of_words_refers_to_its_list(database: sqlite3.Connection, column: str, table: str) -> None:
    of, name = column.split(".")
    references = database.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', (of,)).fetchall()
    assert dict(references)[name] == table


def test_the_database_gives_an_end_to_terminal_runs_only(database: sqlite3.Connection) -> None:
    (sql,) = database.execute("SELECT sql FROM sqlite_schema WHERE name = 'runs'").fetchone()
    (in_flight,) = re.findall(r"\(end_time IS NULL\) = \(status IN\s*\(([^()]*)\)", sql)
    assert set(re.findall(r"'(\w+)'", in_flight)) == {status.value for status in IN_FLIGHT}
