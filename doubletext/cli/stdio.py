"""The standard streams. Whatever becomes of them, a command does its work, and its result is that of the work."""

import contextlib
import os
import sys

import click


def prepare() -> None:
    """Make the standard streams safe to write to.

    A descriptor that is closed is opened on the null device, so that no file of ours gets its number. A character that
    a stream's encoding lacks is written as an escape.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115
        elif descriptor and hasattr(stream, "reconfigure") and stream.errors != "backslashreplace":
            with contextlib.suppress(OSError):  # what it has in store cannot be written
                stream.reconfigure(errors="backslashreplace")


def announce(line: str) -> bool:
    """Print a line to stdout. Return False when nobody reads it: then nothing more is printed there."""
    try:
        click.echo(line)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True
