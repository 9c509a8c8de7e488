"""How many sequences are played, and which."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine

ASKED = int(os.environ.get("DOUBLETEXT_EXAMPLES", "0"))
STEPS = 40


def played(machine: type[Machine], examples: int = 12) -> Any:
    """A test that plays so many sequences of the machine's moves, always the same; or as many new ones as asked for."""
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
