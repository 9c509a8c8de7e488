"""The command line on a terminal, typed at and read from; and in a pipe, read line by line."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from tests.cli.command_line import ROOT, command

# Makes the pseudo-terminal the one that controls the process, so that Ctrl-C comes as it does for a person.
CONTROLLED: Final = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
CTRL_C: Final = "\x03"
SEQUENCE: Final = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])")


class Terminal:
    def __init__(self, process: "subprocess.Popen[bytes]", here: int) -> None:
        self._process = process
        self._here = here
        self.written = ""

    def until(self, *texts: str) -> str:
        """Read until all the texts were written, in the last drawing if there are several; return all that was."""
        while not all(text in self.drawings[-1] for text in texts):
            assert self._read(), f"{texts} did not come:\n{self.drawings[-1]}"
        return self.written

    @property
    def drawings(self) -> list[str]:
        """What was drawn over one another, without colours. The last one may be under way."""
        return [SEQUENCE.sub("", part).replace("\r\n", "\n") for part in self.written.split("\x1b[H")]

    def type(self, text: str) -> None:
        os.write(self._here, text.encode())

    def resize(self, lines: int, columns: int) -> None:
        _size(self._here, lines, columns)

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=10)

    def _read(self) -> bool:
        assert select.select([self._here], [], [], 20)[0], f"nothing more came:\n{self.written}"
        try:
            data = os.read(self._here, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.written += data.decode(errors="replace")
        return bool(data)


def _size(terminal: int, lines: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def terminal(*arguments: str, lines: int = 30, columns: int = 120, term: str = "xterm") -> Iterator[Terminal]:
    here, there = pty.openpty()
    _size(there, lines, columns)
    left_out = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLED, *command(*arguments)],
        cwd=ROOT,
        env={**environment, "TERM": term},
        stdin=there,
        stdout=there,
        stderr=there,
        start_new_session=True,
    )
    os.close(there)
    with process:
        try:
            yield Terminal(process, here)
        finally:
            process.kill()
            os.close(here)


class Pipe:
    """A command whose stdout is read as it comes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout: IO[str] = process.stdout
        self._stderr: IO[str] = process.stderr

    def lines(self, count: int) -> list[str]:
        return [self.stdout.readline().removesuffix("\n") for _ in range(count)]

    def until(self, text: str) -> None:
        for line in self.stdout:
            if text in line:
                return
        raise AssertionError(f"{text} did not come: {self._stderr.read()}")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, list[str], str]:
        """The exit code, the rest of the lines, and stderr."""
        rest, errors = self._process.communicate(timeout=20)
        return self._process.returncode, rest.splitlines(), errors


@contextmanager
def pipe(*arguments: str) -> Iterator[Pipe]:
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Pipe(process)
        finally:
            process.kill()
