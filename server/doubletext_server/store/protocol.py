"""What the service asks of a store, whatever keeps the rows. tests/contract holds each implementation to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from doubletext.jsontext import loads, read, written
from doubletext_server.clock import Clock
from doubletext_server.store.rows import Rows
from doubletext_statemachine.commands import Command
from doubletext_statemachine.model import Assistant, Event, Json, Reducers, Run, Thread, ThreadView, Tombstone
from doubletext_statemachine.state import Change, fold
from doubletext_statemachine.words import RunStatus, ThreadStatus

T = TypeVar("T")

LARGEST_PAGE: Final = 2 * 1024 * 1024
"""A page ends after the item with which it reaches this many characters, so that an answer fits a client's 4 MiB."""


@dataclass(slots=True, frozen=True)
class RunRecord:
    """A run with what no decision depends on. `input` and `metadata` are None once the run is deleted.

    unserved  whether it waits for somebody who executes its graph; not the store's to say
    merged    the runs that became part of it, directly or by way of others, in order of their sequence
    """

    run: Run
    input: Json | None
    metadata: Json | None
    queue_position: int = 0
    unserved: bool = False
    merged: tuple[str, ...] = ()


class Steer(NamedTuple):
    """A run that is offered to the running one, or was taken by it: its input, and how often it was edited before."""

    run_id: str
    sequence: int
    revision: int
    input: Json


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
    values: Json
    input_of: str | None = None


@dataclass(slots=True, frozen=True)
class RawState:
    """A state as it is stored: `snapshot`, and the updates after it, each with its
    reducers and its rules. Reading it costs, so it is read when needed."""

    snapshot: Json | None
    updates: list[tuple[Json, Reducers, int]]

    def text(self) -> Json:
        """The state as it is stored and sent."""
        return written(self._folded(read)) if self.updates else self.snapshot or "{}"

    def values(self) -> dict[str, Any]:
        """The state for a program: a new object each time."""
        return self._folded(loads)

    def _folded(self, read: Callable[[Json], dict[str, Any]]) -> dict[str, Any]:
        """Fold the updates over the snapshot."""
        values = read(self.snapshot) if self.snapshot else {}
        return fold(values, (Change(read(update), reducers, rules) for update, reducers, rules in self.updates))


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


Observer: TypeAlias = Callable[[int, float], None]
"""Called after each commit: how many transactions shared it, and how many seconds it took."""


class Transaction(Protocol):
    """What a change may do within the store's transaction."""

    def load(self, command: Command, now: int) -> ThreadView:
        """What the arbiter decides on: see ThreadView. `now`: the time of the decision."""

    def write(self, rows: Rows) -> None: ...


class Store(Protocol):
    """Keeps threads, runs, steps, events and assistants. It decides nothing: see engine.changes.

    Every method may raise NotReady when the database cannot be read or written just now.
    """

    clock: Clock
    """The time by which changes are decided: never earlier than what the store holds."""

    def observe(self, observer: Observer) -> None:
        """Call the observer after each commit from now on."""

    async def transact(
        self,
        work: Callable[[Transaction], T],
        committed: Callable[[T], object],
        failed: Callable[[BaseException], object],
        *,
        deletes: bool = False,
    ) -> T:
        """Run `work` in a transaction, commit it, and return its value. deletes: it may delete a thread.

        Transactions are run one after the other, in the order in which they were asked for; those that wait together
        share a commit. `committed(value)` or `failed(error)` is called on the event loop before this returns, in the
        same order, also when the caller was cancelled meanwhile: that does not cancel the work. `work` runs on another
        thread, and once more should the commit fail that it shared: so it must do nothing but load, decide and write. A
        Refusal that it raises is its own affair, and must be raised before anything is written.
        """

    async def settled(self) -> None:
        """Return once all transactions asked for so far are over, and their callers' callbacks have been called."""

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

    async def steers(self, thread_id: str, run_id: str) -> list[Steer]:
        """What the run may take now: see queue.on_offer. Empty unless it is the thread's run that has started."""

    async def taken(self, run_ids: Sequence[str]) -> list[Steer]:
        """What these runs say, which became part of another one."""

    async def last_part(self, run_id: str) -> int:
        """The `last_part` of the run's newest output that collects parts, 0 for none."""

    async def untidy(self) -> bool:
        """Whether something that was deleted is still there."""

    async def tidy(self) -> bool:
        """Remove a slice of what was deleted and is still there. Returns whether more may be left."""

    async def running(self) -> list[Run]:
        """The runs in execution."""

    async def suspects(self) -> dict[str, int]:
        """What `suspect` was last called with."""

    async def suspect(self, runs: Mapping[str, int]) -> None:
        """Keep the ids of runs that may have killed the server's process, in the place of those kept before."""

    async def unsettled(self) -> list[str]:
        """The threads that have runs in flight or await a stopped attempt."""

    async def in_flight(self) -> dict[RunStatus, int]:
        """How many runs are pending, and how many running, on all threads."""

    async def close(self) -> None:
        """Finish what was asked, then let go of the file."""
