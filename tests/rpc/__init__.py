"""What tests share is no test file, but its assertions are to explain themselves as a test's do."""

import pytest

pytest.register_assert_rewrite(*(f"tests.rpc.{module}" for module in ("calls", "command_line", "scene", "throwaway")))
