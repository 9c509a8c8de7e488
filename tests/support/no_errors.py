"""That nothing is logged as an error: what a client does, whatever it is, is no failure of the server's."""

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

HANG_UP = "ExecuteBatchError raised in core"
"""What gRPC logs when the client went away at the moment at which it was answered."""


@pytest.fixture(autouse=True)
def nothing_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither the server nor gRPC nor asyncio has an error to log."""
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [record for record in errors if not record.getMessage().startswith(HANG_UP)] == []
