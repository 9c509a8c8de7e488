"""The strategies: every one has a row, and what the rows say, spelled out by hand."""

from typing import Final

import pytest

from doubletext_server.ops.metrics import REFUSED
from doubletext_statemachine import arbiter, commands
from doubletext_statemachine.diagram import strategy_table
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import Strategy
from tests.unit.moves import THREAD
from tests.unit.play import admission

# fmt: off
ROWS: Final = {
    #            needs idle  ends         queues
    "enqueue":   (False,     None,        True),
    "reject":    (True,      None,        False),
    "interrupt": (False,     "interrupt", False),
    "rollback":  (False,     "roll_back", False),
}
# fmt: on


def test_every_strategy_has_a_row() -> None:
    assert set(STRATEGIES) == set(Strategy)
    said = {
        strategy.value: (rules.needs_idle, rules.ends and rules.ends.value, rules.queues)
        for strategy, rules in STRATEGIES.items()
    }
    assert said == ROWS


@pytest.mark.parametrize("strategy", list(Strategy))
def test_what_the_store_must_read_for_an_admission_follows_from_the_row(strategy: Strategy) -> None:
    needs_idle, ends, _ = ROWS[strategy.value]
    for command, thread in (
        (admission("r", strategy), THREAD),
        (admission("r", None), THREAD._replace(default_strategy=strategy)),
        (admission("r", None, default_strategy=strategy), THREAD),
    ):
        assert arbiter.needs_idle(command, thread) is needs_idle
        assert arbiter.stops_all(command, thread) is (ends is not None)
    assert not arbiter.needs_idle(admission("r", strategy, request_id="q"), THREAD), "it may repeat an earlier call"
    assert not arbiter.needs_idle(admission("r", strategy), None)


def test_deleting_a_thread_stops_all_runs_and_no_other_command_does() -> None:
    assert arbiter.stops_all(commands.DeleteThread("t"), THREAD)
    assert not arbiter.stops_all(commands.Tick("t"), THREAD)
    assert not arbiter.needs_idle(commands.DeleteThread("t"), THREAD)


def test_a_refusal_names_the_strategy_that_the_metrics_count_it_for() -> None:
    """The metrics know a refused run by the refusal alone, so that no two strategies may share one."""
    assert REFUSED == {"THREAD_BUSY": "reject", "QUEUE_FULL": "enqueue"}
    assert len(REFUSED) == sum(rules.needs_idle + rules.queues for rules in STRATEGIES.values())


def test_the_table_for_people_has_a_line_for_every_strategy() -> None:
    lines = strategy_table().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == [strategy.name for strategy in STRATEGIES]
    assert {line.count("|") for line in lines} == {5}
