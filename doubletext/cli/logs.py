"""Logs: one JSON object a line on stderr, or readable lines when that is a terminal."""

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import structlog


class _Stderr:
    """Stderr. A line that cannot be written is lost, and nothing else fails: its disk may be full."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logs() -> None:
    # transitions logs every refused guard, which here is an ordinary answer.
    logging.getLogger("transitions.core").setLevel(logging.WARNING)
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        # Plain tracebacks: the others show local variables, which may be large and may hold users' data.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
