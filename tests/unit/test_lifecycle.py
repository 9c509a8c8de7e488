"""The lifecycle: every cell of status × trigger, every guard at its boundary, the statuses in each vocabulary."""

import re
import sqlite3
from dataclasses import replace
from typing import Any, Final

import pytest

from doubletext.v1 import resources_pb2 as pb
from server import wire
from server.store import schema
from statemachine import lifecycle
from statemachine.errors import LeaseLost, QueueFull, Refusal, ThreadBusy
from statemachine.lifecycle import Ask, IllegalMove, Trigger
from statemachine.model import Assistant, Drain, Run, Thread, ThreadView
from statemachine.status import IN_FLIGHT, TERMINAL, RunStatus, Strategy

NOW: Final = 1_000_000
TRIGGERS: Final = ("admit", "claim", "succeed", "fail", "release", "lose", "time_out", "interrupt", "roll_back")

# What each trigger does in each status when every guard holds and attempts are left; "-": there is no such move.
# fmt: off
LEGAL: Final = {
    #               admit      claim      succeed    fail     release    lose       time_out   interrupt     roll_back
    "new":         ("pending", "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
    "pending":     ("-",       "running", "-",       "-",     "-",       "-",       "-",       "interrupted","deleted"),
    "running":     ("-",       "-",       "success", "error", "pending", "pending", "timeout", "interrupted","deleted"),
    "interrupted": ("-",       "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
    "success":     ("-",       "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
    "error":       ("-",       "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
    "timeout":     ("-",       "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
    "deleted":     ("-",       "-",       "-",       "-",     "-",       "-",       "-",       "-",          "-"),
}
# fmt: on
CELLS: Final = [
    (status, trigger, result) for status, row in LEGAL.items() for trigger, result in zip(TRIGGERS, row, strict=True)
]

ASSISTANT: Final = Assistant(1, "a", "g", 0, max_attempts=3)
THREAD: Final = Thread("t", 0, 0)


def a_run(status: RunStatus | None = RunStatus.PENDING, **changes: Any) -> Run:
    """A run of which every guard holds: second of three attempts under epoch 7, its time up just now."""
    started: dict[str, Any] = {"attempt": 2, "epoch": 7, "start_time": NOW - 60, "timeout": 60}
    return replace(Run("r", "t", 1, ASSISTANT, Strategy.ENQUEUE, 0, 0, status=status), **{**started, **changes})


def asked(run: Run, *others: Run, epoch: int | None = 7, now: int = NOW, **thread: Any) -> Ask:
    in_flight = tuple(sorted((each for each in (run, *others) if each.status), key=lambda each: each.sequence))
    return Ask(run, ThreadView(replace(THREAD, **thread), in_flight), now, epoch)


def other(status: RunStatus = RunStatus.PENDING, sequence: int = 2, **changes: Any) -> Run:
    return replace(Run(f"r{sequence}", "t", sequence, ASSISTANT, Strategy.ENQUEUE, 0, 0, status=status), **changes)


def status_named(name: str) -> RunStatus | None:
    return None if name == "new" else RunStatus(name)


def outcome(trigger: str, ask: Ask) -> str:
    try:
        return lifecycle.move(Trigger(trigger), ask).value
    except IllegalMove:
        return "-"


# The table


def test_the_grid_names_every_status_and_every_trigger() -> None:
    assert set(LEGAL) == {lifecycle.NEW, *(status.value for status in RunStatus)}
    assert set(TRIGGERS) == {trigger.value for trigger in Trigger}


@pytest.mark.parametrize(("status", "trigger", "result"), CELLS)
def test_a_trigger_in_a_status_does_what_the_grid_says_and_nothing_elsewhere(
    status: str, trigger: str, result: str
) -> None:
    assert outcome(trigger, asked(a_run(status_named(status)))) == result


@pytest.mark.parametrize(("status", "trigger", "result"), CELLS)
def test_with_the_attempts_used_up_only_losing_a_running_run_ends_otherwise(
    status: str, trigger: str, result: str
) -> None:
    expected = "error" if (status, trigger) == ("running", "lose") else result
    assert outcome(trigger, asked(a_run(status_named(status), attempt=3))) == expected


@pytest.mark.parametrize("status", ["interrupted", "success", "error", "timeout", "deleted"])
@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_terminal_status_has_no_way_out(status: str, trigger: Trigger) -> None:
    ask = asked(a_run(RunStatus(status)))
    with pytest.raises(IllegalMove, match=f"{trigger.value} while {status}"):
        lifecycle.move(trigger, ask)


def test_an_admitted_run_gets_its_first_status_only_by_admission() -> None:
    assert outcome("admit", asked(a_run(None))) == "pending"
    assert outcome("admit", asked(a_run(RunStatus.PENDING))) == "-"


@pytest.mark.parametrize(
    ("trigger", "status"),
    [("interrupt", "running"), ("interrupt", "pending"), ("roll_back", "running"), ("roll_back", "pending")],
)
def test_stopping_a_run_needs_nobodys_consent(trigger: str, status: str) -> None:
    """No guard: neither the lease, nor the line, nor the strategy, nor the clock has a say."""
    run = a_run(RunStatus(status), strategy=Strategy.REJECT, timeout=None, due_time=NOW + 1, attempt=3)
    ask = asked(run, other(sequence=0), epoch=None, drain=Drain("r0", 1, NOW + 1, NOW + 1), max_queued_runs=1)
    assert outcome(trigger, ask) == {"interrupt": "interrupted", "roll_back": "deleted"}[trigger]


# Each guard, its complement, and the boundary

BUSY: Final = {
    "running": other(RunStatus.RUNNING),
    "pending": other(RunStatus.PENDING),
    "delayed": other(RunStatus.PENDING, due_time=NOW + 3_600_000_000),
    "handed back": other(RunStatus.PENDING, base_step=4),
}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_admits_to_an_idle_thread(strategy: Strategy) -> None:
    ask = asked(a_run(None, strategy=strategy), drain=Drain("gone", 1, NOW + 1, NOW + 1))
    assert lifecycle.strategy_admits(ask)
    assert outcome("admit", ask) == "pending"


@pytest.mark.parametrize("busy", list(BUSY))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_only_reject_minds_that_a_run_is_in_flight(strategy: Strategy, busy: str) -> None:
    ask = asked(a_run(None, strategy=strategy), BUSY[busy])
    assert lifecycle.strategy_admits(ask) is (strategy is not Strategy.REJECT)


@pytest.mark.parametrize(
    ("in_line", "in_the_way", "status"),
    [
        ([other(RunStatus.PENDING, 1), other(RunStatus.RUNNING, 2)], "r2", "running"),
        ([other(RunStatus.PENDING, 1, due_time=NOW + 1), other(RunStatus.PENDING, 2)], "r2", "pending"),
        ([other(RunStatus.PENDING, 1), other(RunStatus.PENDING, 2, base_step=0)], "r2", "pending"),
        ([other(RunStatus.PENDING, 1), other(RunStatus.PENDING, 2)], "r1", "pending"),
    ],
)
def test_a_rejected_run_is_told_which_run_is_in_the_way(in_line: list[Run], in_the_way: str, status: str) -> None:
    with pytest.raises(ThreadBusy) as refused:
        lifecycle.move(Trigger.ADMIT, asked(a_run(None, strategy=Strategy.REJECT, sequence=9), *in_line))
    assert refused.value.facts == {
        "thread_id": "t",
        "active_run_id": in_the_way,
        "active_run_status": status,
        "in_flight_runs": "2",
    }


@pytest.mark.parametrize(("pending", "limit", "room"), [(0, 1, True), (1, 2, True), (2, 2, False), (3, 2, False)])
def test_the_queue_has_room_below_its_limit(pending: int, limit: int, room: bool) -> None:
    waiting = [other(sequence=number) for number in range(2, 2 + pending)]
    ask = asked(a_run(None), *waiting, max_queued_runs=limit)
    assert lifecycle.queue_has_room(ask) is room
    if room:
        assert outcome("admit", ask) == "pending"
        return
    with pytest.raises(QueueFull) as refused:
        lifecycle.move(Trigger.ADMIT, ask)
    assert refused.value.facts == {"thread_id": "t", "queued_runs": str(pending), "max_queued_runs": str(limit)}


@pytest.mark.parametrize(("pending", "room"), [(99, True), (100, False)])
def test_a_thread_without_a_limit_of_its_own_queues_a_hundred(pending: int, room: bool) -> None:
    waiting = [other(sequence=number) for number in range(2, 2 + pending)]
    assert lifecycle.queue_has_room(asked(a_run(None), *waiting)) is room
    assert lifecycle.queue_has_room(Ask(a_run(None), ThreadView(None, tuple(waiting)), NOW)) is room


def test_the_running_run_takes_no_room_in_the_queue() -> None:
    ask = asked(a_run(None), other(RunStatus.RUNNING), max_queued_runs=1)
    assert lifecycle.queue_has_room(ask)


@pytest.mark.parametrize("strategy", [Strategy.INTERRUPT, Strategy.ROLLBACK])
def test_a_full_queue_does_not_keep_out_what_empties_it(strategy: Strategy) -> None:
    ask = asked(a_run(None, strategy=strategy), other(), max_queued_runs=1)
    assert lifecycle.queue_has_room(ask)
    assert outcome("admit", ask) == "pending"


FIRST_IN_LINE: Final = {
    "alone": (asked(a_run()), True),
    "another is running": (asked(a_run(), other(RunStatus.RUNNING)), False),
    "admitted first": (asked(a_run(), other(sequence=2)), True),
    "another was admitted before": (asked(a_run(), other(sequence=0)), False),
    "the one before is delayed": (asked(a_run(), other(sequence=0, due_time=NOW + 1)), True),
    "the one before is due this instant": (asked(a_run(), other(sequence=0, due_time=NOW)), False),
    "due this instant": (asked(a_run(due_time=NOW)), True),
    "due the next instant": (asked(a_run(due_time=NOW + 1)), False),
    "a later one was handed back": (asked(a_run(), other(sequence=2, base_step=0)), False),
    "handed back, behind an earlier one": (asked(a_run(base_step=0), other(sequence=0)), True),
    "a stopped attempt has one more instant": (asked(a_run(), drain=Drain("x", 1, NOW + 1, NOW + 1)), False),
    "a stopped attempt's grace ends this instant": (asked(a_run(), drain=Drain("x", 1, NOW, NOW)), True),
    "no such thread": (Ask(a_run(), ThreadView(None), NOW), False),
}


@pytest.mark.parametrize("case", list(FIRST_IN_LINE))
def test_only_the_run_that_heads_its_thread_may_be_claimed(case: str) -> None:
    ask, heads = FIRST_IN_LINE[case]
    assert lifecycle.heads_its_thread(ask) is heads
    if heads:
        assert outcome("claim", ask) == "running"
        return
    with pytest.raises(IllegalMove, match="claim while pending: not heads_its_thread"):
        lifecycle.move(Trigger.CLAIM, ask)


@pytest.mark.parametrize(("epoch", "holds"), [(6, False), (7, True), (8, False), (None, False)])
@pytest.mark.parametrize("trigger", [Trigger.SUCCEED, Trigger.FAIL, Trigger.RELEASE])
def test_only_the_current_epoch_holds_the_lease(trigger: Trigger, epoch: int | None, holds: bool) -> None:
    ask = asked(a_run(RunStatus.RUNNING, epoch=7), epoch=epoch)
    assert lifecycle.holds_lease(ask) is holds
    if holds:
        lifecycle.move(trigger, ask)
        return
    with pytest.raises(LeaseLost) as refused:
        lifecycle.move(trigger, ask)
    assert refused.value.facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "7", "cause": "CLAIMED_AGAIN"}


@pytest.mark.parametrize(
    ("changes", "up"),
    [
        ({"start_time": NOW - 60, "timeout": 61}, False),
        ({"start_time": NOW - 60, "timeout": 60}, True),
        ({"start_time": NOW - 60, "timeout": 59}, True),
        ({"start_time": NOW, "timeout": 0}, True),
        ({"start_time": NOW - 60, "timeout": None}, False),
        ({"start_time": None, "timeout": 60}, False),
    ],
)
def test_time_is_up_at_the_deadline_and_not_an_instant_before(changes: dict[str, Any], up: bool) -> None:
    ask = asked(a_run(RunStatus.RUNNING, **changes))
    assert lifecycle.time_is_up(ask) is up
    if up:
        assert outcome("time_out", ask) == "timeout"
        return
    with pytest.raises(IllegalMove, match="time_out while running: not time_is_up"):
        lifecycle.move(Trigger.TIME_OUT, ask)


@pytest.mark.parametrize(
    ("attempt", "most", "ends_as"),
    [(1, 3, "pending"), (2, 3, "pending"), (3, 3, "error"), (4, 3, "error"), (1, 1, "error")],
)
def test_a_lost_run_is_tried_again_until_its_attempts_are_used_up(attempt: int, most: int, ends_as: str) -> None:
    ask = asked(a_run(RunStatus.RUNNING, attempt=attempt, assistant=replace(ASSISTANT, max_attempts=most)), epoch=None)
    assert lifecycle.may_try_again(ask) is (ends_as == "pending")
    assert lifecycle.attempts_used_up(ask) is not lifecycle.may_try_again(ask)
    assert outcome("lose", ask) == ends_as


def test_a_refused_move_leaves_the_run_as_it_was() -> None:
    run = a_run(RunStatus.RUNNING)
    before = replace(run)
    with pytest.raises(Refusal):
        lifecycle.move(Trigger.SUCCEED, asked(run, epoch=1))
    assert run == before


# The same statuses in the domain, on the wire, and in the database


def test_each_status_is_either_in_flight_or_terminal() -> None:
    assert {status.value for status in IN_FLIGHT} == {"pending", "running"}
    assert {status.value for status in TERMINAL} == {"interrupted", "success", "error", "timeout", "deleted"}
    assert frozenset(RunStatus) == IN_FLIGHT | TERMINAL


def test_each_status_has_a_number_on_the_wire_and_each_number_a_status() -> None:
    assert set(wire.RUN_STATUS) == set(RunStatus)
    named: dict[int, str] = {number: name for name, number in pb.RunStatus.items()}
    assert {named[number] for number in wire.RUN_STATUS.values()} == set(pb.RunStatus.keys()) - {
        "RUN_STATUS_UNSPECIFIED"
    }
    for status, number in wire.RUN_STATUS.items():
        assert named[number] == f"RUN_STATUS_{status.name}"


@pytest.fixture(scope="module")
def runs_sql() -> str:
    """The definition of the table `runs` after all migrations."""
    with sqlite3.connect(":memory:") as connection:
        for migration in schema.MIGRATIONS:
            connection.executescript(migration)
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'runs'").fetchone()
    connection.close()
    return str(sql)


def words(sql: str, pattern: str) -> set[str]:
    """The quoted words in the parenthesis that follows `pattern`."""
    found = re.findall(pattern + r"\s*\(([^()]*)\)", sql)
    assert len(found) == 1, f"{pattern!r} stands {len(found)} times in the schema"
    return set(re.findall(r"'(\w+)'", found[0]))


def test_the_database_stores_every_status_except_deleted(runs_sql: str) -> None:
    assert words(runs_sql, r"CHECK \(\s*status IN") == {status.value for status in RunStatus} - {"deleted"}


def test_the_database_gives_an_end_to_terminal_runs_only(runs_sql: str) -> None:
    assert words(runs_sql, r"\(end_time IS NULL\) = \(status IN") == {status.value for status in IN_FLIGHT}


def test_the_database_stores_every_strategy(runs_sql: str) -> None:
    assert words(runs_sql, r"CHECK \(strategy IN") == {strategy.value for strategy in Strategy}
