"""What is decided does not depend on how much of a thread's line was read, and what is read not on how long it is."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest

from doubletext_server.store.rows import ASSISTANT, assistant_row, rows
from doubletext_server.store.sqlite import queue, schema
from doubletext_server.store.sqlite.sql import insert
from doubletext_server.store.sqlite.views import load_view
from doubletext_server.store.sqlite.writes import write
from doubletext_statemachine import commands
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.queue import in_order
from tests.contract.test_list_costs import assert_served_from_indexes
from tests.unit.long_queues import AHEAD, SEEDS, THREADS, Applied, Lines
from tests.unit.play import ASSISTANT as PLAIN
from tests.unit.play import GRAPHS, OTHER
from tests.unit.thread_rows import T

ASSISTANTS: Final = {each.key: each for each in (PLAIN, OTHER)}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty file with the assistants of the unit tests."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        for key, assistant in ASSISTANTS.items():
            columns = (key, *assistant_row(assistant))
            connection.execute(insert("assistants", ASSISTANT), columns)
        yield connection


def writer(connection: sqlite3.Connection) -> Applied:
    def apply(request: commands.Command, made: Decision, now: int) -> None:
        if made.writes:
            write(connection, rows(request, made, now), set())

    return apply


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_is_decided_on_what_the_store_reads_as_on_all_that_is_in_flight(
    connection: sqlite3.Connection, seed: int
) -> None:
    lines = Lines(seed, writer(connection))
    for world, now in lines.situations(THREADS):
        for request, later in lines.asked(world):
            stored = load_view(connection, request, ASSISTANTS, now + later)
            complete = replace(stored, runs=world.in_flight, unlisted=0, unlisted_ahead=0)
            lines.same(stored, complete, request, now + later)
    assert lines.not_met() <= {"CancelRuns", "UpdateRun", "MoveRun"}  # they get all that is in flight


@pytest.mark.parametrize("seed", SEEDS)
def test_a_runs_place_is_counted_as_the_line_is_ordered(connection: sqlite3.Connection, seed: int) -> None:
    lines, counted = Lines(seed, writer(connection)), 0
    for world, now in lines.situations(2 * THREADS):
        for later in (now + ahead for ahead in AHEAD):
            waiting = in_order(world.in_flight, later)
            counted += len(waiting)
            assert [queue.position(connection, run, later) for run in waiting] == list(range(1, len(waiting) + 1))
    assert counted > 500


def test_a_run_admitted_since_the_clock_was_looked_at_is_not_taken_for_a_delayed_one(
    connection: sqlite3.Connection,
) -> None:
    now = 1_000
    runs = []
    for number in range(3):
        request = commands.AdmitRun(T, f"r{number}", "a", PLAIN, create_thread=True, delay=50 * (number == 1))
        made = decide(load_view(connection, request, ASSISTANTS, now), request, now)
        write(connection, rows(request, made, now), set())
        runs.append(made.admitted)
    assert [queue.position(connection, run, now - 1) for run in runs if run] == [1, 3, 2]


# What it costs

FEW, MANY = 40, 400
STATEMENTS: Final = {
    name: value for name, value in vars(queue).items() if isinstance(value, str) and value.startswith("SELECT")
}


def put(connection: sqlite3.Connection, request: commands.Command, now: int) -> None:
    made = decide(load_view(connection, request, ASSISTANTS, now), request, now)
    write(connection, rows(request, made, now), set())


def steps_to_load(connection: sqlite3.Connection, request: commands.Command, now: int) -> int:
    """Of SQLite's machine."""
    counter = itertools.count()

    def step() -> None:
        next(counter)

    connection.set_progress_handler(step, 1)
    load_view(connection, request, ASSISTANTS, now)
    connection.set_progress_handler(None, 1)
    return next(counter)


@pytest.mark.parametrize("running", [False, True])
def test_what_is_read_for_a_decision_is_the_same_for_a_longer_line(
    connection: sqlite3.Connection, running: bool
) -> None:
    steps = []
    for runs in (FEW, MANY):
        connection.execute("DELETE FROM threads")
        for now in range(runs):
            put(connection, commands.AdmitRun(T, f"r{now}", "a", PLAIN, max_queued_runs=runs, create_thread=True), now)
        if running:
            put(connection, commands.ClaimRun(T, GRAPHS), runs)
        lease = (T, "r0", 1)
        for request in (
            commands.CommitStep(*lease, "{}"),
            commands.SucceedRun(*lease),
            commands.ClaimRun(T, GRAPHS),
            commands.Tick(T),
        ):
            steps.append(steps_to_load(connection, request, runs))
    assert steps[:4] == steps[4:]


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_about_a_line_is_a_range_of_an_index(connection: sqlite3.Connection, name: str) -> None:
    sql = STATEMENTS[name]
    values = (1,) * sql.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert_served_from_indexes(plan, set())
