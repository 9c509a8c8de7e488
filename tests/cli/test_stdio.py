"""Whatever becomes of stdout and stderr, the server serves, and a command's result is that of its work."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from doubletext.cli import logs
from tests.cli.command_line import ROOT, Server, Verbs

SERVE = f"exec {sys.executable} -m doubletext serve --listen 127.0.0.1:0"


def address_in(log: Path) -> str:
    """Where the server listens, as its log says once it does."""
    while True:
        for line in log.read_text().splitlines():
            if (entry := json.loads(line))["event"] == "serving":
                return str(entry["address"])


@pytest.mark.parametrize("stdout", [">&-", "> /dev/full", "| true"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is missing: it is Linux's")
def test_a_server_whose_stdout_is_closed_full_or_not_read_serves(tmp_path: Path, stdout: str) -> None:
    log, ended = tmp_path / "log", tmp_path / "ended"
    log.touch()
    script = f"echo $$ > {tmp_path}/pid; {SERVE} --db {tmp_path}/d.db 2> {log}"
    command = (
        f"(sh -c '{script}'; echo $? > {ended}) {stdout}"
        if "|" in stdout
        else f"sh -c '{script} {stdout}'; echo $? > {ended}"
    )
    with subprocess.Popen(["sh", "-c", command], cwd=ROOT) as shell:
        Verbs(address_in(log))("thread", "create", "t")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        shell.wait(30)
    assert ended.read_text() == "0\n", log.read_text()


@pytest.mark.parametrize("stderr", ["2>&-", "2> /dev/full"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is missing: it is Linux's")
def test_a_server_whose_stderr_is_closed_or_full_serves_and_its_database_is_sound(tmp_path: Path, stderr: str) -> None:
    db = tmp_path / "d.db"
    with subprocess.Popen(
        ["sh", "-c", f"{SERVE} --db {db} {stderr}"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        Verbs(address)("thread", "create", "t")
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    checked = subprocess.run(
        [sys.executable, "-m", "doubletext", "check", db], capture_output=True, text=True, check=False
    )
    assert checked.stdout.startswith("ok: 1 thread"), checked.stdout


def test_a_character_that_stdout_lacks_is_an_escape_and_the_exit_code_is_that_of_the_run(server: Server) -> None:
    command = ["run", "create", "latin", "echo", "--create-thread", "--message", "in 東京", "--join"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "DOUBLETEXT_SERVER": server.address}
    done = subprocess.run(
        [sys.executable, "-m", "doubletext", *command], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert rb"in \u6771\u4eac" in done.stdout


class Blocked(io.StringIO):
    """Nobody reads it until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.go_on.wait(30)
        return super().write(text)


def test_lines_that_nobody_reads_hold_up_nobody_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Blocked()
    monkeypatch.setattr(sys, "stderr", stream)
    writer = logs.LogWriter(most_waiting=3)
    print("first", file=writer, flush=True)
    assert stream.reached.wait(30)
    for number in range(10):
        print(number, file=writer, flush=True)
    stream.go_on.set()
    writer.finish()
    assert stream.getvalue() == "first\n7 log lines were lost\n0\n1\n2\n"


def test_lines_that_cannot_be_written_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, full = io.StringIO(), [True]

    def write(text: str) -> int:
        if full[0]:
            raise OSError("no space left on device")
        return io.StringIO.write(stream, text)

    monkeypatch.setattr(stream, "write", write)
    monkeypatch.setattr(sys, "stderr", stream)
    writer = logs.LogWriter()
    for number in range(3):
        print(number, file=writer, flush=True)
    writer.finish()
    full[0] = False
    print("last", file=writer, flush=True)
    writer.finish()
    assert stream.getvalue() == "last\n3 log lines were lost\n"


def test_a_terminal_is_shown_what_a_log_line_holds_and_obeys_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    before: dict[str, Any] = structlog.get_config()
    try:
        logs.configure_logs()
        log = structlog.get_logger("t")
        try:
            raise ValueError("\x1b]0;title\x07\u202egnp")
        except ValueError:
            log.exception("a graph failed", thread_id="\x1b[2J")
        structlog.get_config()["logger_factory"]()._file.finish()
    finally:
        structlog.configure(**before)
    shown = stream.getvalue()
    assert r"\x1b]0;title\x07\u202egnp" in shown
    assert r"\x1b[2J" in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
