"""The strategies: every one has a row, and what the rows say, spelled out by hand."""

from typing import Final

import pytest

from doubletext_server.ops.metrics import REFUSED
from doubletext_statemachine import arbiter, commands
from doubletext_statemachine.diagram import strategy_table
from doubletext_statemachine.strategies import QUEUE_POLICIES, STRATEGIES, policy_of
from doubletext_statemachine.words import QueuePolicy, Strategy
from tests.unit.moves import THREAD
from tests.unit.play import admission

# fmt: off
ROWS: Final = {
    #            needs idle  ends         ends queue   first  joins  steers  policies, the default one first
    "enqueue":   (False,     None,        "interrupt", False, False, False, ["keep", "supersede", "merge"]),
    "reject":    (True,      None,        "interrupt", False, False, False, []),
    "interrupt": (False,     "interrupt", "interrupt", True,  False, False, ["supersede", "keep", "merge"]),
    "rollback":  (False,     "roll_back", "roll_back", True,  False, False, ["supersede", "keep", "merge"]),
    "join":      (False,     None,        "interrupt", False, True,  False, []),
    "steer":     (False,     None,        "interrupt", False, False, True,  ["keep"]),
}
# fmt: on


def test_every_strategy_has_a_row() -> None:
    assert set(STRATEGIES) == set(Strategy)
    said = {
        strategy.value: (
            rules.needs_idle,
            rules.ends and rules.ends.value,
            rules.ends_queue.value,
            rules.first,
            rules.joins,
            rules.steers,
            [policy.value for policy in rules.policies],
        )
        for strategy, rules in STRATEGIES.items()
    }
    assert said == ROWS


@pytest.mark.parametrize("strategy", list(Strategy))
def test_what_the_store_must_read_for_an_admission_follows_from_the_row(strategy: Strategy) -> None:
    needs_idle, ends, _, _, joins, steers, _ = ROWS[strategy.value]
    for command, thread in (
        (admission("r", strategy), THREAD),
        (admission("r", None), THREAD._replace(default_strategy=strategy)),
        (admission("r", None, default_strategy=strategy), THREAD),
    ):
        assert arbiter.needs_idle(command, thread) is needs_idle
        assert arbiter.needs_all(command, thread) is (ends is not None or joins or steers)
    assert not arbiter.needs_idle(admission("r", strategy, request_id="q"), THREAD), "it may repeat an earlier call"
    assert not arbiter.needs_idle(admission("r", strategy), None)


@pytest.mark.parametrize("policy", list(QueuePolicy))
def test_every_queue_policy_has_a_row_and_whoever_ends_or_takes_runs_sees_them_all(policy: QueuePolicy) -> None:
    rules = QUEUE_POLICIES[policy]
    assert (rules.ends, rules.merges) == {"keep": (False, False), "supersede": (True, False), "merge": (False, True)}[
        policy.value
    ]
    needs_all = policy is not QueuePolicy.KEEP
    assert arbiter.needs_all(admission("r", Strategy.ENQUEUE, queue_policy=policy), THREAD) is needs_all
    thread = THREAD._replace(default_queue_policy=policy)
    assert arbiter.needs_all(admission("r", Strategy.ENQUEUE), thread) is needs_all


def test_a_default_of_the_thread_holds_where_the_strategy_may_have_it() -> None:
    keep, supersede, merge = QueuePolicy.KEEP, QueuePolicy.SUPERSEDE, QueuePolicy.MERGE
    assert policy_of(Strategy.ENQUEUE, None, None) is keep
    assert policy_of(Strategy.INTERRUPT, None, None) is policy_of(Strategy.ROLLBACK, None, None) is supersede
    assert policy_of(Strategy.INTERRUPT, None, keep) is keep
    assert policy_of(Strategy.ENQUEUE, merge, supersede) is merge
    assert policy_of(Strategy.REJECT, None, merge) is policy_of(Strategy.JOIN, None, merge) is None


def test_deleting_a_thread_looks_at_all_runs_and_no_other_command_does() -> None:
    assert arbiter.needs_all(commands.DeleteThread("t"), THREAD)
    assert not arbiter.needs_all(commands.Tick("t"), THREAD)
    assert not arbiter.needs_idle(commands.DeleteThread("t"), THREAD)


def test_a_refusal_names_the_strategy_that_the_metrics_count_it_for() -> None:
    """The metrics know a refused run by the refusal alone, so that no two strategies may share one."""
    assert REFUSED == {"THREAD_BUSY": "reject", "QUEUE_FULL": "enqueue"}


def test_the_table_for_people_has_a_line_for_every_strategy() -> None:
    lines = strategy_table().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == [strategy.name for strategy in STRATEGIES]
    assert {line.count("|") for line in lines} == {5}
