"""The lifecycle: every cell of status × trigger, spelled out by hand."""

from typing import Final

import pytest

from doubletext_statemachine import lifecycle
from doubletext_statemachine.errors import LeaseLost, Refusal
from doubletext_statemachine.lifecycle import IllegalMove
from doubletext_statemachine.model import StoppingAttempt
from doubletext_statemachine.words import RunStatus, Strategy, Trigger
from tests.unit.moves import NOW, a_run, move_of, other, outcome, status_named

TRIGGERS: Final = (
    *("admit", "claim", "succeed", "fail", "release", "lose", "time_out", "interrupt", "roll_back"),
    *("spare", "merge", "expire"),
)

# What each trigger does in each status when every guard holds and attempts are left; "-": there is no such move. Of the
# server's own attempt, that is: its lease both holds, and is over when its process is.
# fmt: off
_LEGAL: Final = {
    #               admit   claim   succeed fail  release lose    time_out interrupt   roll_back spare  merge  expire
    "new":         "pending -       -       -     -       -       -        -           -         -      -      -",
    "pending":     "-       running -       -     -       -       -        interrupted deleted   -      merged timeout",
    "running":     "-       -       success error pending pending timeout  interrupted deleted   pending -     -",
    "interrupted": "-       -       -       -     -       -       -        -           -         -      -      -",
    "success":     "-       -       -       -     -       -       -        -           -         -      -      -",
    "error":       "-       -       -       -     -       -       -        -           -         -      -      -",
    "timeout":     "-       -       -       -     -       -       -        -           -         -      -      -",
    "deleted":     "-       -       -       -     -       -       -        -           -         -      -      -",
    "merged":      "-       -       -       -     -       -       -        -           deleted   -      -      -",
}
# fmt: on
LEGAL: Final = {status: row.split() for status, row in _LEGAL.items()}
CELLS: Final = [
    (status, trigger, result) for status, row in LEGAL.items() for trigger, result in zip(TRIGGERS, row, strict=True)
]


def test_the_grid_names_every_status_and_every_trigger() -> None:
    assert set(LEGAL) == {lifecycle.NEW, *(status.value for status in RunStatus)}
    assert set(TRIGGERS) == {trigger.value for trigger in Trigger}


@pytest.mark.parametrize(("status", "trigger", "result"), CELLS)
def test_a_trigger_in_a_status_does_what_the_grid_says_and_nothing_elsewhere(
    status: str, trigger: str, result: str
) -> None:
    assert outcome(trigger, move_of(a_run(status_named(status), **_late(trigger)))) == result


def _late(trigger: str) -> dict[str, int]:
    return {"expire_time": NOW} if trigger == "expire" else {}


@pytest.mark.parametrize(("status", "trigger", "result"), CELLS)
def test_with_the_attempts_used_up_only_losing_a_running_run_ends_otherwise(
    status: str, trigger: str, result: str
) -> None:
    expected = "error" if (status, trigger) == ("running", "lose") else result
    assert outcome(trigger, move_of(a_run(status_named(status), attempt=3, **_late(trigger)))) == expected


# What becomes of a run that a worker executes, while its lease lasts and once it is over.
# fmt: off
_EXECUTED_BY_A_WORKER: Final = {
    #         admit claim succeed fail    release lose    time_out interrupt   roll_back spare   merge expire
    NOW + 1: "-     -     success error   pending -       timeout  interrupted deleted   -       -     -",
    NOW:     "-     -     refused refused refused pending timeout  interrupted deleted   pending -     -",
    NOW - 1: "-     -     refused refused refused pending timeout  interrupted deleted   pending -     -",
}
# fmt: on
EXECUTED_BY_A_WORKER: Final = {expires: row.split() for expires, row in _EXECUTED_BY_A_WORKER.items()}


@pytest.mark.parametrize(
    ("expires", "trigger", "result"),
    [(expires, *cell) for expires, row in EXECUTED_BY_A_WORKER.items() for cell in zip(TRIGGERS, row, strict=True)],
)
def test_a_workers_lease_ends_at_its_instant_and_with_it_what_it_may_do(
    expires: int, trigger: str, result: str
) -> None:
    move = move_of(a_run(RunStatus.RUNNING, worker_id="w", lease_expires=expires))
    if result == "refused":
        with pytest.raises(LeaseLost) as refused:
            lifecycle.perform(Trigger(trigger), move)
        assert refused.value.facts == {"run_id": "r", "epoch": "7", "current_epoch": "7", "cause": "EXPIRED"}
        return
    assert outcome(trigger, move) == result


@pytest.mark.parametrize("status", ["interrupted", "success", "error", "timeout", "deleted"])
@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_terminal_status_has_no_way_out(status: str, trigger: Trigger) -> None:
    move = move_of(a_run(RunStatus(status)))
    with pytest.raises(IllegalMove, match=f"{trigger.value} while {status}"):
        lifecycle.perform(trigger, move)


def test_an_admitted_run_gets_its_first_status_only_by_admission() -> None:
    assert outcome("admit", move_of(a_run(None))) == "pending"
    assert outcome("admit", move_of(a_run(RunStatus.PENDING))) == "-"


@pytest.mark.parametrize(
    ("trigger", "status"),
    [("interrupt", "running"), ("interrupt", "pending"), ("roll_back", "running"), ("roll_back", "pending")],
)
def test_stopping_a_run_needs_nobodys_consent(trigger: str, status: str) -> None:
    """No guard: neither the lease, nor the line, nor the strategy, nor the clock has a say."""
    run = a_run(RunStatus(status), strategy=Strategy.REJECT, timeout=None, due_time=NOW + 1, attempt=3)
    move = move_of(
        run, other(sequence=0), epoch=None, stopping=StoppingAttempt("r0", 1, NOW + 1, NOW + 1), max_queued_runs=1
    )
    assert outcome(trigger, move) == {"interrupt": "interrupted", "roll_back": "deleted"}[trigger]


def test_a_refused_move_leaves_the_run_as_it_was() -> None:
    run = a_run(RunStatus.RUNNING)
    before = tuple(run)
    with pytest.raises(Refusal):
        lifecycle.perform(Trigger.SUCCEED, move_of(run, epoch=1))
    assert tuple(run) == before
