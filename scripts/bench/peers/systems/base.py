"""What the scenarios ask of a system. Standard library only: it runs in every peer's venv."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Work(NamedTuple):
    """A run to create: `steps` steps of `seconds` each; `number` is its place on its thread, from 1."""

    thread: str
    number: int
    steps: int = 1
    seconds: float = 0.0


class Refused(Exception):
    """The system refused the run since its thread is busy."""


class System(Protocol):
    """One system with its servers. `strategies` are those of the four that it has."""

    strategies: frozenset[str]

    def __init__(self, folder: Path) -> None:
        """Everything that is kept is kept in the folder."""

    async def start(self) -> None:
        """Start the servers on what the folder holds; return when runs can be created."""

    async def kill(self) -> None:
        """End every process of the servers with SIGKILL."""

    async def create(self, work: Work, strategy: str) -> Any:
        """Create the run; return what `join` needs once the system has acknowledged it. Raises Refused."""

    async def join(self, created: Any) -> None:
        """Return when the run has ended."""

    async def inputs(self, thread: str) -> list[int]:
        """The numbers of the runs whose inputs are in the thread's state; only asked where there is rollback."""
