"""The exit codes of the client commands."""

from enum import IntEnum
from typing import Final

from doubletext import types


class Exit(IntEnum):
    DONE = 0
    RUN_FAILED = 1
    INVALID = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    NOT_FINAL = 6
    INTERNAL = 70
    STOPPED = 130


MEANING: Final = {
    Exit.DONE: "done",
    Exit.RUN_FAILED: "the run that was joined ended other than in success",
    Exit.INVALID: "wrong usage, or an argument that the server refused",
    Exit.NOT_FOUND: "no such thing, or a run that was rolled back before",
    Exit.REFUSED: "busy, taken, still in flight, started or edited meanwhile, or the queue is full",
    Exit.UNAVAILABLE: "the server is unavailable, or a deadline passed",
    Exit.NOT_FINAL: "--wait passed and the run is not final yet",
    Exit.INTERNAL: "an error inside the server, or one it should not give",
    Exit.STOPPED: "stopped by Ctrl-C",
}
EXIT_OF: Final = {
    "INVALID_ARGUMENT": Exit.INVALID,
    "OUT_OF_RANGE": Exit.INVALID,
    "NOT_FOUND": Exit.NOT_FOUND,
    "ALREADY_EXISTS": Exit.REFUSED,
    "FAILED_PRECONDITION": Exit.REFUSED,
    "ABORTED": Exit.REFUSED,
    "RESOURCE_EXHAUSTED": Exit.REFUSED,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exit.UNAVAILABLE,
}
"""Exit codes by the name of the gRPC status code. The names are text, so that `--help` does not import gRPC."""

EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code.value:<4} {meaning}" for code, meaning in MEANING.items())


def ended(run: types.Run) -> Exit:
    """Return the exit code for the status of a run that was joined."""
    if run["status"] in ("pending", "running"):
        return Exit.NOT_FINAL
    return Exit.DONE if run["status"] == "success" else Exit.RUN_FAILED
