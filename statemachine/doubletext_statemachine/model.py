"""What a thread consists of: data only, no behaviour beyond what a row says about itself.

Times are microseconds since 1970 UTC, durations are microseconds, JSON objects are their text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from doubletext_statemachine.words import OnFailure, QueuePolicy, Reason, Reducer, RunStatus, Strategy

Json: TypeAlias = str
Reducers: TypeAlias = dict[str, Reducer]

DEFAULT_REDUCERS: Final[Reducers] = {"messages": Reducer.MESSAGES}
RULES: Final = 2
"""By which steps are folded that are made today. Steps that are there keep theirs: `state` knows them all."""
DEFAULT_MAX_ATTEMPTS: Final = 3
DEFAULT_STOP_GRACE: Final = 5_000_000
DEFAULT_MAX_QUEUED_RUNS: Final = 100
RANKS: Final = 2**20
"""From one run's rank to the next one's, so that others find a place between them."""
LARGEST_OFFER: Final = 2 * 1024 * 1024
"""Bytes of the inputs that are offered to a running run at a time, the first of them aside."""
LARGEST_MERGED_INPUT: Final = 16 * 1024 * 1024
"""Bytes of the inputs of one run together, if it has taken others."""


@dataclass(slots=True, frozen=True)
class Assistant:
    """A named, configured graph. An id may be used again after a deletion, a `key` never is."""

    key: int
    assistant_id: str
    graph: str
    create_time: int
    metadata: Json = "{}"
    config: Json = "{}"
    reducers: Reducers = field(default_factory=lambda: DEFAULT_REDUCERS)
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    stop_grace: int = DEFAULT_STOP_GRACE
    run_timeout: int | None = None


# Run and Thread are named tuples: every decision copies one of each, and copying a tuple takes a fifth of the time that
# copying a frozen dataclass of so many fields takes.


class Run(NamedTuple):
    """One execution of an assistant on a thread. Its input and metadata are left out: no decision depends on them.

    epoch      rises with every claim, and fences off older attempts
    base_step  the thread's newest step before the run's input. Of a run that ended without having started: the newest
               step at that time. None while the run has not started.
    last_step  the newest step that the run made; 0 when it made none
    worker_id  who claimed it last; None for the server itself, whose lease lasts as long as its process
    lease_expires   when the worker's lease ends, unless it is renewed
    outcome_digest  of the outcome with which a worker finished the run; recognises a repeated call
    first_event     the number of the event of its admission
    queue_policy    the one that was applied; None for a strategy that has none
    rank            its place among the runs that wait, the lowest first
    merged_into     the run that took it, if it is MERGED; that one may have been taken by a further one
    merges          how many runs it has taken, with all that those had taken
    input_bytes     how long its input and theirs are
    oldest_time     when the oldest of them was created; 0: it has taken none
    debounced       it waits for further messages, not for a `delay`
    expire_time     when it ends TIMEOUT unless it has started
    absorbed        how many runs it has taken since it started, which steered it
    revision        how many times it was edited while it waited
    """

    run_id: str
    thread_id: str
    sequence: int
    assistant: Assistant
    strategy: Strategy
    create_time: int
    due_time: int
    timeout: int | None = None
    status: RunStatus | None = None
    attempt: int = 0
    epoch: int = 0
    start_time: int | None = None
    end_time: int | None = None
    base_step: int | None = None
    last_step: int = 0
    error_type: str | None = None
    error_message: str | None = None
    superseded_by: str | None = None
    reason: Reason | None = None
    worker_id: str | None = None
    lease_expires: int | None = None
    outcome_digest: str | None = None
    first_event: int = 0
    queue_policy: QueuePolicy | None = None
    rank: int = 0
    merged_into: str | None = None
    merges: int = 0
    input_bytes: int = 0
    oldest_time: int = 0
    debounced: bool = False
    expire_time: int | None = None
    absorbed: int = 0
    revision: int = 0

    @property
    def has_taken(self) -> bool:
        """Other runs have become part of it."""
        return self.merges > 0 or self.absorbed > 0

    @property
    def waits(self) -> bool:
        """It is pending and has never started."""
        return self.status is RunStatus.PENDING and self.base_step is None

    @property
    def deadline(self) -> int | None:
        if self.start_time is None or self.timeout is None:
            return None
        return self.start_time + self.timeout

    @property
    def left_state_at(self) -> int | None:
        """The step whose state the run left behind. None while the run has not started."""
        return self.last_step or self.base_step


@dataclass(slots=True, frozen=True)
class StoppingAttempt:
    """A stopped attempt whose code may still be running. The thread starts no run until it acknowledges, or `until`.

    `until` is the end of its grace, or of its worker's lease if that comes first.
    """

    run_id: str
    epoch: int
    until: int
    grace_until: int
    worker_id: str | None = None


class Thread(NamedTuple):
    """A conversation. The counters `last_*` are the last numbers given out; `first_event` is the oldest event kept.

    held        no run is started, also none that was handed back
    on_failure  whether a failed run holds the thread; None: it does not
    """

    thread_id: str
    create_time: int
    update_time: int
    metadata: Json = "{}"
    default_strategy: Strategy | None = None
    max_queued_runs: int | None = None
    last_sequence: int = 0
    last_step: int = 0
    last_event: int = 0
    stopping: StoppingAttempt | None = None
    first_event: int = 1
    default_queue_policy: QueuePolicy | None = None
    held: bool = False
    on_failure: OnFailure | None = None


@dataclass(slots=True, frozen=True)
class Tombstone:
    """What remains of a run that was rolled back. `merged_into`: the run that had taken it, and was rolled back."""

    run_id: str
    thread_id: str
    superseded_by: str | None
    reason: Reason
    create_time: int
    delete_time: int
    merged_into: str | None = None


@dataclass(slots=True, frozen=True)
class Repeated:
    """An earlier CreateRun with the same request_id. `joined`: it was answered a run that was in flight."""

    run_id: str
    digest: str
    joined: bool = False


class Committed(NamedTuple):
    """An earlier CommitStep of the same run. `update` and `absorb` are what it was called with.

    last_step  the newest step that it made
    absorbed   the runs that it took
    """

    update: Json | None
    absorb: tuple[str, ...]
    last_step: int
    absorbed: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class ThreadView:
    """Everything a decision about a thread depends on, as one consistent reading at the time of the decision.

    thread    None when there is no such thread
    runs      runs in flight, in order of `sequence`. All of them if the command may look at all (`arbiter.needs_all`).
              Otherwise at least the running run, the first two of the queue (`queue.in_order`), all that have expired
              and the next two that do: a command moves or adds one run at most, beside those that expire, so that
              these are enough to say which run is next, before the move and after it; and the first run that may be
              offered to the running one, and the next that becomes so.
    named     the run that the command names, in flight or not, or its tombstone
    repeated  the earlier call with the command's request_id
    committed of CommitStep: the run's earlier call whose first step was `expected_step`, if any. An update that equals
              the command's as JSON is given as the command spells it.
    whole     whether `runs` are known to be all in flight
    unlisted  of AdmitRun and UpdateState: how many runs are in flight beyond those in `runs`
    unlisted_ahead    of AdmitRun: how many of the unlisted runs come before the run that is to be admitted
    unlisted_merges   of AdmitRun: how many inputs the unlisted runs have taken
    merged    the runs that were merged into one of `runs`, directly or by way of others, by that one's id and in order
              of `sequence`: of those that the command may start, roll back, or merge
    absorber  of DeleteRun: the run that the named one has become part of, or that one itself
    own_bytes of UpdateRun: how long the named run's own input is
    """

    thread: Thread | None
    runs: tuple[Run, ...] = ()
    named: Run | Tombstone | None = None
    repeated: Repeated | None = None
    committed: Committed | None = None
    whole: bool = True
    unlisted: int = 0
    unlisted_ahead: int = 0
    unlisted_merges: int = 0
    merged: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    absorber: Run | None = None
    own_bytes: int = 0


@dataclass(slots=True, frozen=True)
class Step:
    """One change of the state. `update` is None for the input of `input_of`, which the store has.

    run_id    the run that made it; None for a change by hand
    input_of  the run whose input it is: `run_id`, or one that was merged into it
    absorb    of the first step of a commit that was to absorb runs: their ids
    absorbed  and how many it took
    """

    step: int
    run_id: str | None
    update: Json | None
    reducers: Reducers
    rules: int = RULES
    input_of: str | None = None
    absorb: tuple[str, ...] = ()
    absorbed: int = 0


@dataclass(slots=True, frozen=True)
class RunChanged:
    before: RunStatus | None
    after: RunStatus
    superseded_by: str | None = None
    reason: Reason | None = None
    merged_into: str | None = None


@dataclass(slots=True, frozen=True)
class StepCommitted:
    step: int


@dataclass(slots=True, frozen=True)
class RunEdited:
    """`queue_position`: the run's place in the queue afterwards, from 1."""

    revision: int
    queue_position: int


@dataclass(slots=True, frozen=True)
class ThreadChanged:
    held: bool


@dataclass(slots=True, frozen=True)
class Output:
    """`part`: the number of one that is not kept yet. `first_part`, `last_part`: the parts that a kept one collects."""

    channel: str
    data: Json
    part: int = 0
    first_part: int = 0
    last_part: int = 0


@dataclass(slots=True, frozen=True)
class Event:
    sequence: int
    run_id: str | None
    kind: RunChanged | StepCommitted | RunEdited | ThreadChanged | Output
