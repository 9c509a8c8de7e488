"""How many sequences are played, and which."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.rules import Machine

ASKED = int(os.environ.get("DOUBLETEXT_EXAMPLES", "0"))
STEPS = 40


def played(machine: type[Machine], examples: int = 25) -> Any:
    """A test that plays so many sequences of the machine's rules, always the same ones; or as many as are asked for, new
    ones each time."""
    chosen = settings(
        max_examples=ASKED or examples,
        stateful_step_count=STEPS,
        derandomize=not ASKED,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    @pytest.mark.timeout(24 * 3600 if ASKED else 600)
    def test() -> None:
        run_state_machine_as_test(machine, settings=chosen)

    return test
