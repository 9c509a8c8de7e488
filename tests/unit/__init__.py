"""The rules of statemachine, judged without a server."""

import pytest

# Where these modules assert, a failure is to show the values, as it does in a test.
for module in ("world", "standing", "entitled", "invariants", "play"):
    pytest.register_assert_rewrite(f"tests.unit.{module}")
