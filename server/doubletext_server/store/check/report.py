"""The findings of a check."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

SHOWN: Final = 20
"""So many findings of each kind are listed. The rest are counted."""


class Kind(Enum):
    """What may be wrong with a file. docs/operations.md has a sentence on each."""

    FILE = "file"
    SCHEMA = "schema"
    REFERENCE = "reference"
    JSON = "json"
    RUN = "run"
    RUNNING = "running"
    STEP = "step"
    EVENT = "event"
    HISTORY = "history"
    ORDER = "order"
    COUNTER = "counter"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled-back"
    SNAPSHOT = "snapshot"
    DRAIN = "drain"
    REQUEST = "request"
    LIST = "list"


@dataclass
class Report:
    """`found` has the first SHOWN violations of each kind. `count` has the number of all violations of each kind."""

    threads: int = 0
    runs: int = 0
    steps: int = 0
    events: int = 0
    found: dict[Kind, list[str]] = field(default_factory=dict)
    count: dict[Kind, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.found

    def add(self, kind: Kind, what: str) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        if self.count[kind] <= SHOWN:
            self.found.setdefault(kind, []).append(what)

    def lines(self) -> Iterator[str]:
        """Yield one line for each violation, and one line for the violations of a kind that are not shown."""
        for kind, found in self.found.items():
            yield from (f"{kind.value}: {what}" for what in found)
            if self.count[kind] > len(found):
                yield f"{kind.value}: and {self.count[kind] - len(found)} more"

    def summary(self) -> str:
        counts = {"thread": self.threads, "run": self.runs, "step": self.steps, "event": self.events}
        return ", ".join(counted(count, thing) for thing, count in counts.items())


def counted(count: int, thing: str) -> str:
    """Return how many there are, for people: "1 thread", "2 threads"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
