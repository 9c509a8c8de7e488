"""That nothing is logged as an error: what a client does, whatever it is, is no failure of the server's."""

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def nothing_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither the server nor gRPC nor asyncio has an error to log."""
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []
