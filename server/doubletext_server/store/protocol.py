"""What the service asks of a store, whatever keeps the rows. tests/contract holds each implementation to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from doubletext_server.clock import Clock
from doubletext_statemachine.commands import ClaimRun, Command
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Assistant, Event, Json, Reducers, Run, Thread, Tombstone
from doubletext_statemachine.words import RunStatus, ThreadStatus

T = TypeVar("T")

LARGEST_PAGE: Final = 2 * 1024 * 1024
"""A page ends after the item with which it reaches this many characters, so that an answer fits a client's 4 MiB."""


@dataclass(slots=True, frozen=True)
class RunRecord:
    """A run with what no decision depends on. `input` and `metadata` are None once the run is deleted."""

    run: Run
    input: Json | None
    metadata: Json | None
    queue_position: int = 0


@dataclass(slots=True, frozen=True)
class ThreadRecord:
    thread: Thread
    status: ThreadStatus
    active_run_id: str | None
    queued_runs: int


@dataclass(slots=True, frozen=True)
class State:
    """`run_id` made this step; None for UpdateState and step 0."""

    thread_id: str
    step: int
    run_id: str | None
    create_time: int
    values: dict[str, Any]


@dataclass(slots=True, frozen=True)
class RawState:
    """A state as it is stored: `snapshot`, and the updates after it. Reading it costs, so it is read when needed."""

    snapshot: Json | None
    updates: list[tuple[Json, Reducers]]


@dataclass(slots=True, frozen=True)
class EventRecord:
    """`data`: a step's update or an output's data; None once the run was rolled back."""

    event: Event
    time: int
    data: Json | None


@dataclass(slots=True, frozen=True)
class Page(Generic[T]):
    """`next`: where the next page starts, None on the last one."""

    items: list[T]
    next: list[Any] | None


Listener: TypeAlias = Callable[[str, Decision], None]
"""Told of each Decision after its commit, in order of commit: the thread's id and the Decision."""


Follow: TypeAlias = Callable[[str, Decision], ClaimRun | None]
"""Asked before the commit of each Decision what to claim of the same thread in the same commit, if anything. Called on
the writer's own thread, it must not wait for anything."""


class Store(Protocol):
    """Every method may raise NotReady when the database cannot be read or written just now."""

    on_commit: Listener
    follow: Follow
    clock: Clock
    """The time by which changes are decided: never earlier than what the store holds."""

    async def change(self, request: Command) -> Decision:
        """Let the arbiter decide on the request and commit what it says. On disk when it returns; goes on when the
        caller is cancelled. Raises the arbiter's Refusal, with nothing written; and a Decision's own, once it is."""

    async def settled(self) -> None:
        """Return once all changes asked for so far are committed and told."""

    async def add_assistant(self, assistant: Assistant) -> Assistant:
        """Keep an assistant and return it with its `key`. Raises AssistantExists."""

    async def delete_assistant(self, assistant_id: str) -> None:
        """Raises AssistantNotFound. Runs keep the assistant that they have."""

    def assistant(self, assistant_id: str) -> Assistant | None: ...

    def assistants(self) -> list[Assistant]:
        """In order of their ids."""

    async def thread(self, thread_id: str) -> ThreadRecord:
        """Raises ThreadNotFound."""

    async def threads(
        self, statuses: Sequence[ThreadStatus], limit: int, after: list[Any] | None, metadata: Json = "{}"
    ) -> Page[ThreadRecord]:
        """Newest first; those with any of `statuses` (none: all) whose metadata has each key with an equal value.

        A page that is not full need not be the last one, here and in `runs`.
        """

    async def run(self, run_id: str) -> RunRecord | Tombstone | None: ...

    async def start_of(self, thread_id: str, run_id: str) -> tuple[RunRecord | Tombstone | None, RawState]:
        """What an execution of a claimed run starts from: its record as it is now, and the thread's newest state; one
        reading. Raises ThreadNotFound."""

    async def thread_of(self, run_id: str) -> str | None:
        """The thread that the run is on, was on before it was rolled back, or is awaited on though its record is gone;
        None for a run unknown."""

    async def superseded_by(self, run_id: str) -> list[RunRecord | Tombstone]:
        """The runs that the run's admission ended, those of a deleted record aside; in order of their sequence."""

    async def runs(
        self,
        thread_id: str,
        statuses: Sequence[RunStatus],
        oldest_first: bool,
        limit: int,
        after: list[Any] | None,
        metadata: Json = "{}",
    ) -> Page[RunRecord]:
        """By sequence, filtered as threads are. Raises ThreadNotFound."""

    async def state(self, thread_id: str, step: int | None = None) -> State:
        """The state after `step`, the newest when None. Raises ThreadNotFound, StepNotFound."""

    async def run_and_state(
        self, run_id: str, thread_id: str, step: int | None = None
    ) -> tuple[RunRecord | Tombstone | None, State]:
        """The run and a state of its thread, in one reading: that after `step`; without, the one that the run left, or
        the newest while it is not final. Raises ThreadNotFound, StepNotFound."""

    async def states(self, thread_id: str, limit: int, after: list[Any] | None) -> Page[State]:
        """Newest first, down to step 1. Raises ThreadNotFound."""

    async def events(self, thread_id: str, after: int, limit: int, run_id: str | None = None) -> list[EventRecord]:
        """The events after a number, of one run or of all, as far as they make up one page. Raises EventsTrimmed."""

    async def aged(self, before: int, limit: int) -> list[str]:
        """Threads that may have events from before a time."""

    async def trim(self, thread_id: str, before: int, keep: int) -> bool:
        """Delete some of the thread's events, tombstones and request ids that are older than `before`, or more than the
        newest `keep`. Returns whether there are more of them. One small commit."""

    async def inactive(self, since: int, limit: int) -> list[str]:
        """Threads on which perhaps nothing has happened since a time."""

    async def still_active(self, thread_id: str) -> None:
        """Don't list the thread as inactive again before its time."""

    async def unsettled(self) -> list[str]:
        """The threads that have runs in flight or await a stopped attempt."""

    async def in_flight(self) -> dict[RunStatus, int]:
        """How many runs are pending, and how many running, on all threads."""

    async def close(self) -> None:
        """Finish what was asked, then let go of the file."""
