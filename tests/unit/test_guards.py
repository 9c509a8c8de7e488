"""Each guard, its complement, and the boundary."""

from dataclasses import replace
from typing import Any, Final

import pytest

from doubletext_statemachine import lifecycle
from doubletext_statemachine.errors import LeaseLost, QueueFull, ThreadBusy
from doubletext_statemachine.lifecycle import IllegalMove, Move
from doubletext_statemachine.model import LARGEST_MERGED_INPUT, Run, StoppingAttempt, ThreadView
from doubletext_statemachine.words import RunStatus, Strategy, Trigger
from tests.unit.moves import ASSISTANT, NOW, a_run, move_of, other, outcome

BUSY: Final = {
    "running": other(RunStatus.RUNNING),
    "pending": other(RunStatus.PENDING),
    "delayed": other(RunStatus.PENDING, due_time=NOW + 3_600_000_000),
    "handed back": other(RunStatus.PENDING, base_step=4),
}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_admits_to_an_idle_thread(strategy: Strategy) -> None:
    move = move_of(a_run(None, strategy=strategy), stopping=StoppingAttempt("gone", 1, NOW + 1, NOW + 1))
    assert lifecycle.strategy_admits(move)
    assert outcome("admit", move) == "pending"


@pytest.mark.parametrize("busy", list(BUSY))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_only_reject_minds_that_a_run_is_in_flight(strategy: Strategy, busy: str) -> None:
    move = move_of(a_run(None, strategy=strategy), BUSY[busy])
    assert lifecycle.strategy_admits(move) is (strategy is not Strategy.REJECT)


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
        lifecycle.perform(Trigger.ADMIT, move_of(a_run(None, strategy=Strategy.REJECT, sequence=9), *in_line))
    assert refused.value.facts == {
        "thread_id": "t",
        "active_run_id": in_the_way,
        "active_run_status": status,
        "in_flight_runs": "2",
    }


@pytest.mark.parametrize(("pending", "limit", "room"), [(0, 1, True), (1, 2, True), (2, 2, False), (3, 2, False)])
def test_the_queue_has_room_below_its_limit(pending: int, limit: int, room: bool) -> None:
    move = move_of(a_run(None), max_queued_runs=limit, queued=pending + 1)
    assert lifecycle.queue_has_room(move) is room
    if room:
        assert outcome("admit", move) == "pending"
        return
    with pytest.raises(QueueFull) as refused:
        lifecycle.perform(Trigger.ADMIT, move)
    assert refused.value.facts == {"thread_id": "t", "queued_runs": str(pending), "max_queued_runs": str(limit)}


@pytest.mark.parametrize(("pending", "room"), [(99, True), (100, False)])
def test_a_thread_without_a_limit_of_its_own_queues_a_hundred(pending: int, room: bool) -> None:
    assert lifecycle.queue_has_room(move_of(a_run(None), queued=pending + 1)) is room
    assert lifecycle.queue_has_room(Move(a_run(None), ThreadView(None), NOW, queued=pending + 1)) is room


@pytest.mark.parametrize(("merges", "size", "room"), [(1, 0, True), (1, 1, False), (0, 1, True)])
def test_what_a_run_has_taken_is_not_too_much_for_one(merges: int, size: int, room: bool) -> None:
    run = a_run(None, merges=merges, input_bytes=LARGEST_MERGED_INPUT + size)
    assert lifecycle.queue_has_room(move_of(run, queued=1 + merges)) is room


@pytest.mark.parametrize(("expires", "late"), [(None, False), (NOW + 1, False), (NOW, True)])
def test_a_run_is_late_at_the_very_moment(expires: int | None, late: bool) -> None:
    assert lifecycle.is_past_its_start(move_of(a_run(expire_time=expires))) is late
    started = a_run(expire_time=expires, base_step=0)
    assert not lifecycle.is_past_its_start(move_of(started))
    assert not lifecycle.never_started(move_of(started))


FIRST_IN_LINE: Final = {
    "alone": (move_of(a_run()), True),
    "another is running": (move_of(a_run(), other(RunStatus.RUNNING)), False),
    "admitted first": (move_of(a_run(), other(sequence=2)), True),
    "another was admitted before": (move_of(a_run(), other(sequence=0)), False),
    "the one before is delayed": (move_of(a_run(), other(sequence=0, due_time=NOW + 1)), True),
    "the one before is due this instant": (move_of(a_run(), other(sequence=0, due_time=NOW)), False),
    "due this instant": (move_of(a_run(due_time=NOW)), True),
    "due the next instant": (move_of(a_run(due_time=NOW + 1)), False),
    "a later one was handed back": (move_of(a_run(), other(sequence=2, base_step=0)), False),
    "handed back, behind an earlier one": (move_of(a_run(base_step=0), other(sequence=0)), True),
    "a stopped attempt has one more instant": (
        move_of(a_run(), stopping=StoppingAttempt("x", 1, NOW + 1, NOW + 1)),
        False,
    ),
    "a stopped attempt's grace ends this instant": (move_of(a_run(), stopping=StoppingAttempt("x", 1, NOW, NOW)), True),
    "no such thread": (Move(a_run(), ThreadView(None), NOW), False),
}


@pytest.mark.parametrize("case", list(FIRST_IN_LINE))
def test_only_the_run_that_heads_its_thread_may_be_claimed(case: str) -> None:
    move, heads = FIRST_IN_LINE[case]
    assert lifecycle.heads_its_thread(move) is heads
    if heads:
        assert outcome("claim", move) == "running"
        return
    with pytest.raises(IllegalMove, match="claim while pending: not heads_its_thread"):
        lifecycle.perform(Trigger.CLAIM, move)


@pytest.mark.parametrize(("epoch", "holds"), [(6, False), (7, True), (8, False), (None, False)])
@pytest.mark.parametrize("trigger", [Trigger.SUCCEED, Trigger.FAIL, Trigger.RELEASE])
def test_only_the_current_epoch_holds_the_lease(trigger: Trigger, epoch: int | None, holds: bool) -> None:
    move = move_of(a_run(RunStatus.RUNNING, epoch=7), epoch=epoch)
    assert lifecycle.holds_lease(move) is holds
    if holds:
        lifecycle.perform(trigger, move)
        return
    with pytest.raises(LeaseLost) as refused:
        lifecycle.perform(trigger, move)
    assert refused.value.facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "7", "cause": "CLAIMED_AGAIN"}


@pytest.mark.parametrize(
    ("epoch", "expires", "why_not"),
    [
        (7, None, None),
        (7, NOW + 1, None),
        (7, NOW, "EXPIRED"),
        (7, NOW - 1, "EXPIRED"),
        (6, NOW + 1, "CLAIMED_AGAIN"),
        (8, NOW + 1, "CLAIMED_AGAIN"),
        (6, NOW, "CLAIMED_AGAIN"),
        (None, NOW + 1, "CLAIMED_AGAIN"),
    ],
)
def test_a_lease_is_held_by_the_current_epoch_before_its_end(
    epoch: int | None, expires: int | None, why_not: str | None
) -> None:
    move = move_of(a_run(RunStatus.RUNNING, epoch=7, lease_expires=expires), epoch=epoch)
    assert lifecycle.why_not_held(move) == why_not
    assert lifecycle.holds_lease(move) is (why_not is None)


@pytest.mark.parametrize(("expires", "over"), [(NOW + 1, False), (NOW, True), (NOW - 1, True)])
def test_of_a_workers_lease_either_it_is_held_or_it_is_over(expires: int, over: bool) -> None:
    move = move_of(a_run(RunStatus.RUNNING, worker_id="w", lease_expires=expires))
    assert lifecycle.lease_is_over(move) is over
    assert lifecycle.holds_lease(move) is not over


def test_a_run_is_not_lost_while_its_lease_holds_whatever_its_attempts() -> None:
    for attempt in (1, 3):
        move = move_of(a_run(RunStatus.RUNNING, attempt=attempt, worker_id="w", lease_expires=NOW + 1))
        with pytest.raises(IllegalMove, match="lose while running: not lease_is_over"):
            lifecycle.perform(Trigger.LOSE, move)


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
    move = move_of(a_run(RunStatus.RUNNING, **changes))
    assert lifecycle.time_is_up(move) is up
    if up:
        assert outcome("time_out", move) == "timeout"
        return
    with pytest.raises(IllegalMove, match="time_out while running: not time_is_up"):
        lifecycle.perform(Trigger.TIME_OUT, move)


@pytest.mark.parametrize(
    ("attempt", "most", "ends_as"),
    [(1, 3, "pending"), (2, 3, "pending"), (3, 3, "error"), (4, 3, "error"), (1, 1, "error")],
)
def test_a_lost_run_is_tried_again_until_its_attempts_are_used_up(attempt: int, most: int, ends_as: str) -> None:
    move = move_of(
        a_run(RunStatus.RUNNING, attempt=attempt, assistant=replace(ASSISTANT, max_attempts=most)), epoch=None
    )
    assert lifecycle.may_try_again(move) is (ends_as == "pending")
    assert lifecycle.attempts_used_up(move) is not lifecycle.may_try_again(move)
    assert outcome("lose", move) == ends_as
