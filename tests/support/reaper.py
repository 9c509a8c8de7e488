"""Ends what a test that has timed out leaves behind, so that pytest goes on and comes to its end.

pytest-timeout raises in the test, once. What unwinds then may wait for ever: for a process that hears no signal, or for
a server that cannot stop. And the threads of a store that nobody has closed keep Python from exiting.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import thread as pool
from contextlib import suppress
from pathlib import Path

import pytest

GRACE_S = 15.0
"""After its timeout a test has so long to unwind; then its processes are killed, and after as long again it is over."""


def descendants(pid: int) -> list[int]:
    """The processes that this one has started, and those that they have; where there is no /proc, none."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it is gone by now
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        waiting += (new := children.get(waiting.pop(), []))
        found += new
    return found


def kill_processes() -> None:
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Reaper:
    """A plugin of pytest's. `grace_s`: see GRACE_S."""

    def __init__(self, config: pytest.Config, grace_s: float = GRACE_S) -> None:
        asked = config.getoption("timeout", None)
        self._default_s = float((config.getini("timeout") or 0) if asked is None else asked)
        self._grace_s = grace_s
        self._status: int = pytest.ExitCode.OK
        self._stderr = os.dup(2)  # while a test runs, descriptor 2 is caught

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        marker = item.get_closest_marker("timeout")
        timeout_s = float(marker.args[0]) if marker else self._default_s
        over = threading.Event()
        if timeout_s:
            watch = threading.Thread(target=self._watch, args=(over, timeout_s, item.nodeid), daemon=True)
            watch.start()
        try:
            return (yield)
        finally:
            over.set()

    def _watch(self, over: threading.Event, timeout_s: float, name: str) -> None:
        if over.wait(timeout_s + self._grace_s):
            return
        kill_processes()
        if over.wait(self._grace_s):
            return
        os.write(self._stderr, f"\n{name} hangs, and is ended with all of this process\n".encode())
        faulthandler.dump_traceback(file=self._stderr)
        os._exit(pytest.ExitCode.INTERNAL_ERROR)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._status = exitstatus

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Kill what is left of processes, and do not wait for what is left of threads."""
        if config.getoption("numprocesses", None):
            return  # this one only runs others, and they do it
        kill_processes()
        left = [
            each.name
            for each in threading.enumerate()
            if not each.daemon and each is not threading.main_thread() and each not in pool.__dict__["_threads_queues"]
        ]  # those of a pool end by themselves as Python exits
        if left:
            sys.stderr.write(f"threads are left, and are not waited for: {', '.join(left)}\n")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._status)
