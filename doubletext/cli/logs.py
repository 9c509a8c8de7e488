"""Logs: one JSON object a line on stderr, or readable lines when that is a terminal."""

import atexit
import logging
import os
import queue
import sys
import threading
from typing import Any, Final, TextIO, cast

import structlog

from doubletext.cli.render.text import printable

MOST_WAITING: Final = 10_000
LAST_SECONDS: Final = 1.0


class LogWriter:
    """Writes lines to stderr on a thread of its own, so that a reader who is slow holds up nobody.

    Lines that cannot be written, or that come while too many wait, are lost. The next line that is written is followed
    by one that says how many were.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._part = ""
        self._lost = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        self._part += text

    def flush(self) -> None:
        line, self._part = self._part, ""
        if self._lines.qsize() >= self._most_waiting:
            self._lost += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
            self._thread.start()
        self._lines.put(line)

    def finish(self) -> None:
        """Wait a moment for the lines that are not yet written."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(LAST_SECONDS)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                sys.stderr.write(line)
                sys.stderr.flush()
                if self._lost:
                    lost, self._lost = self._lost, 0
                    sys.stderr.write(f"{lost} log lines were lost\n")
                    sys.stderr.flush()
            except (OSError, ValueError):  # a full disk, a reader that is gone, a stream that is closed
                self._lost += 1


def escaped(logger: object, name: str, entry: Any) -> Any:
    """Spell out what a terminal would obey: texts of graphs and callers are among the values."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in entry.items()}


def configure_logs() -> None:
    # transitions logs every refused guard, which here is an ordinary answer.
    logging.getLogger("transitions.core").setLevel(logging.WARNING)
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain, since the pretty ones show local variables: users' data, and without bound.
        structlog.processors.format_exc_info,
    ]
    if sys.stderr.isatty():
        plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        processors += [escaped, plain]
    else:
        processors.append(structlog.processors.JSONRenderer())
    writer = LogWriter()
    atexit.register(writer.finish)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
