"""What the tasks wrote while they ran, and what it proves. Standard library only: it runs in every peer's venv.

Each step of a task appends one line when it starts and one when it ends or is stopped:

    THREAD NUMBER STEP MARK NANOSECONDS PID

NUMBER is the place of the run in its thread's order of creation, from 1; STEP counts the run's steps from 0;
NANOSECONDS are CLOCK_MONOTONIC, one clock for all processes of a machine. The same lines come from every system, so
that every figure is derived in the same way, from the code's own view, whatever a system says about itself.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

START: Final = "start"
END: Final = "end"
STOPPED: Final = "stopped"
VARIABLE: Final = "DOUBLETEXT_BENCH_JOURNAL"


class Mark(NamedTuple):
    thread: str
    number: int
    step: int
    what: str
    time: int  # nanoseconds
    pid: int


class Span(NamedTuple):
    """One process at work on one run, from its first mark to its last."""

    start: int
    end: int
    number: int
    pid: int


async def work(thread: str, number: int, step: int, seconds: float) -> None:
    """The step of the benchmark's task: sleeps, and tells the journal when it started and how it ended."""
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        _write(file, thread, number, step, START)
        try:
            if seconds:
                await asyncio.sleep(seconds)
        except BaseException:
            _write(file, thread, number, step, STOPPED)
            raise
        _write(file, thread, number, step, END)
    finally:
        os.close(file)


def _write(file: int, thread: str, number: int, step: int, mark: str) -> None:
    # One short write to a file opened for appending: lines of several processes never mix.
    os.write(file, f"{thread} {number} {step} {mark} {time.monotonic_ns()} {os.getpid()}\n".encode())


class Journal:
    """The marks so far, by thread, in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.marks: defaultdict[str, list[Mark]] = defaultdict(list)

    def look(self) -> None:
        """Take in what was written since the last look."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for mark in parse(new.decode().splitlines()):
            self.marks[mark.thread].append(mark)

    @property
    def size(self) -> int:
        """Bytes read so far: as long as it grows, something is at work."""
        return self._read

    def started(self, thread: str, number: int) -> int | None:
        """When the run's first step started, in nanoseconds."""
        return first_starts(self.marks[thread]).get(number)

    def done(self, thread: str, number: int, steps: int = 1) -> bool:
        """Whether each of the run's steps came to its end."""
        return len({m.step for m in self.marks[thread] if m.number == number and m.what == END}) >= steps


def parse(lines: Iterable[str]) -> Iterator[Mark]:
    for line in lines:
        thread, number, step, what, nanoseconds, pid = line.split()
        yield Mark(thread, int(number), int(step), what, int(nanoseconds), int(pid))


def first_starts(marks: Iterable[Mark]) -> dict[int, int]:
    """When each run's first step first started, by run number, in nanoseconds."""
    starts: dict[int, int] = {}
    for mark in marks:
        if mark.what == START:
            starts[mark.number] = min(mark.time, starts.get(mark.number, mark.time))
    return starts


def spans(marks: Iterable[Mark]) -> list[Span]:
    """The spans of one thread, earliest first. A run that was begun again by another process has one for each."""
    at: dict[tuple[int, int], list[int]] = {}
    for mark in marks:
        at.setdefault((mark.number, mark.pid), []).append(mark.time)
    return sorted(Span(min(times), max(times), number, pid) for (number, pid), times in at.items())


def overlaps(marks: Iterable[Mark]) -> int:
    """How many spans of one thread began while an earlier one was still at work."""
    found, busy_until = 0, 0
    for span in spans(marks):
        found += span.start < busy_until
        busy_until = max(busy_until, span.end)
    return found


def inversions(marks: Iterable[Mark]) -> int:
    """How many runs of one thread started only after a run had that was created after them."""
    found, earliest = 0, None
    for _, start in sorted(first_starts(marks).items(), reverse=True):
        if earliest is not None and start > earliest:
            found += 1
        earliest = start if earliest is None else min(earliest, start)
    return found


def gaps(marks: Iterable[Mark]) -> list[float]:
    """From the end of each run of one thread to the start of the next, in milliseconds; overlaps left out."""
    return [
        milliseconds(b.start - a.end) for a, b in pairwise(spans(marks)) if a.number != b.number and b.start >= a.end
    ]


def milliseconds(nanoseconds: int) -> float:
    """To the microsecond: what is finer is noise, and would fill files."""
    return round(nanoseconds / 1e6, 3)


def lost(journal: Journal, accepted: Iterable[tuple[str, int]]) -> int:
    """How many accepted one-step runs, as (thread, number), never came to their end."""
    return sum(not journal.done(thread, number) for thread, number in accepted)
