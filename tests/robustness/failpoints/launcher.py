"""Servers by forking, from a process that has imported all they need: twenty times as fast as starting them anew.

    python -m tests.robustness.failpoints.launcher DESCRIPTOR

Reads from the socket, one message for each server: JSON of Order's fields, and the descriptor of its stdout. A server
says its pid there before anything else, and `done WRITES SYNCS COMMITS` once it has stopped in order. The failpoint of
failpoint.c is to be preloaded; the one at a COMMIT is here.
"""

import ctypes
import json
import os
import signal
import socket
import sqlite3
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import doubletext_server.app  # noqa: F401 - once here, and not in each server: `serve` imports it when it is called
from doubletext.cli import logs, process  # noqa: F401
from doubletext.cli.main import main
from doubletext.cli.stdio import prepare

PAGES_IN_LOG: Final = 40
"""The log is copied into the database when it has so many pages, not a thousand: several times in a short script."""
PR_SET_CHILD_SUBREAPER: Final = 36
KINDS: Final = ("write", "sync")


@dataclass(frozen=True)
class Order:
    """kind   what is counted: "write", "sync" or "commit"; "" for no failpoint
    mode   what happens at the `at`-th, see points.py
    hold   whether the graphs wait to be stopped
    synchronous  the setting that the server believes to be FULL
    """

    db: str
    log: str
    options: tuple[str, ...] = ()
    kind: str = ""
    mode: str = ""
    at: int = 0
    hold: bool = False
    synchronous: str = "FULL"


class Connection(sqlite3.Connection):
    """Counts the commits of those who write, and ends the process at one of them."""

    order: Order
    committed = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._writes = False
        super().execute(f"PRAGMA wal_autocheckpoint = {PAGES_IN_LOG}")

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "PRAGMA synchronous = FULL":
            sql = f"PRAGMA synchronous = {self.order.synchronous}"
        if sql != "COMMIT" or not self._writes:
            self._writes = sql == "BEGIN IMMEDIATE" or (self._writes and self.in_transaction)
            return super().execute(sql, *arguments)
        self._reach("before")
        try:
            return super().execute(sql)
        finally:
            self._reach("after")

    def executescript(self, script: str) -> sqlite3.Cursor:
        cursor = super().executescript(script)
        self._writes = self.in_transaction  # a migration's, whose COMMIT follows
        return cursor

    def _reach(self, moment: str) -> None:
        Connection.committed += moment == "before"
        order = self.order
        if order.kind != "commit" or Connection.committed != order.at:
            return
        if order.mode == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        if order.mode == "power" and moment == "after":
            _failpoint().failpoint_power_off()


def _failpoint() -> ctypes.CDLL:
    return ctypes.CDLL(None)  # all that is loaded, the preloaded library too


def _serve(order: Order) -> None:
    sys.stdout.write(f"pid {os.getpid()}\n")
    sys.stdout.flush()
    if order.hold:
        os.environ["CRASH_HOLD"] = "1"
    kind = KINDS.index(order.kind) if order.kind in KINDS else -1
    _failpoint().failpoint_arm(order.db.encode(), kind, ctypes.c_char(order.mode[:1].encode() or b" "), order.at)
    Connection.order = order
    sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
    command = ("serve", "--listen", "127.0.0.1:0", "--db", order.db, *order.options)
    main(command, standalone_mode=False)
    counts = [_failpoint().failpoint_count(index) for index in range(len(KINDS))]
    sys.stdout.write(f"done {' '.join(map(str, counts))} {Connection.committed}\n")
    sys.stdout.flush()


def _fork(order: Order, stdout: int, ours: socket.socket) -> None:
    if os.fork():
        os.close(stdout)
        return
    code = 1
    try:
        ours.close()
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(stdout, 1)
        os.dup2(log, 2)
        os.close(stdout)
        os.close(log)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _serve(order)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def launch(ours: socket.socket) -> None:
    """Fork a server for each order, until nobody is left to give one."""
    prepare()  # here once: in a fork, a stream that was put in another's place cannot be set up again
    # Who dies here leaves no zombie, be it a child's child.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(ours, 65536, 1)
        if not message:
            return
        _fork(Order(**json.loads(message)), descriptors[0], ours)


if __name__ == "__main__":
    launch(socket.socket(fileno=int(sys.argv[1])))
