"""What doubletext_server.store.protocol asks of every store, and what is asked of the one on SQLite besides."""

import pytest

# Where this module asserts, a failure is to show the values, as it does in a test.
pytest.register_assert_rewrite("tests.contract.files")
