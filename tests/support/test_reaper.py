"""A test that hangs is over some time after its timeout, whatever it has left behind."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CONFTEST = """
from tests.support.reaper import Reaper

def pytest_configure(config):
    config.pluginmanager.register(Reaper(config, grace_s=0.5))
"""

# A process that hears no signal but SIGKILL, of which the test waits for the end; and a store that nobody closes.
HANGS = """
import asyncio, subprocess, sys
from doubletext_server.store.sqlite.store import SqliteStore

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"

def test_waits_for_a_process_for_ever(tmp_path):
    asyncio.run(SqliteStore.open(str(tmp_path / "open.db"), int))
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as process:
        (tmp_path.parent / "pid").write_text(str(process.pid))
        process.stdout.readline()
        process.wait()

def test_goes_on():
    pass
"""

ENDLESS = """
import time

def test_cannot_be_ended():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass
"""


def run(folder: Path, test: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", "1", "--basetemp", str(folder / "tmp"))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), *options, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )


def test_a_test_that_waits_for_its_process_ends_and_the_session_too(tmp_path: Path) -> None:
    done = run(tmp_path, HANGS)
    assert "1 failed, 1 passed" in done.stdout
    assert done.returncode == 1
    assert "threads are left" in done.stderr
    assert not _is_there(int((tmp_path / "tmp" / "pid").read_text()))


def test_a_test_that_cannot_be_ended_ends_its_session(tmp_path: Path) -> None:
    done = run(tmp_path, ENDLESS)
    assert "test_cannot_be_ended hangs" in done.stderr
    assert "test_it.py" in done.stderr, "it does not say where"
    assert done.returncode == 3


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
