"""The rules of statemachine, judged without a server."""

import pytest

# Where these modules assert, a failure is to show the values, as it does in a test.
pytest.register_assert_rewrite("tests.unit.world", "tests.unit.invariants", "tests.unit.play")
