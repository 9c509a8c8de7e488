"""Fixtures of all tests."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# What tests share is no test file, but its assertions are to explain themselves as a test's do.
pytest.register_assert_rewrite("tests.support", "tests.cli.command_line", "tests.rpc.fake_server")

from tests.support.reaper import Reaper  # noqa: E402
from tests.support.server import Service, serving  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts in the background with Ctrl-C ignored, and every process started here inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o077)  # a database that others may read is refused
    config.pluginmanager.register(Reaper(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play a test that takes a `service` once for each of its `executors`."""
    marker = metafunc.definition.get_closest_marker("executors")
    if marker is not None and "service" in metafunc.fixturenames:
        metafunc.parametrize("service", marker.args, indirect=True)


@pytest.fixture
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    """A running service, whose graphs are executed by the server itself, or by a worker."""
    async with serving(tmp_path / "test.db", by_worker=getattr(request, "param", "server") == "worker") as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded as their `figures`, wherever they ran."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    figures = [str(text) for report in reports for name, text in report.user_properties if name == "figures"]
    if figures:
        terminalreporter.section("figures")
        for line in sorted(figures):
            terminalreporter.line(line)
