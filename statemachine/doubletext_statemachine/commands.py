"""The commands about a thread. Data only, no behaviour: the arbiter answers each with a Decision."""

from dataclasses import dataclass, field
from typing import ClassVar

from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, Assistant, Json, Output, Reducers, Thread
from doubletext_statemachine.strategies import policy_of
from doubletext_statemachine.words import CancelAction, OnFailure, Place, QueuePolicy, RunStatus, Strategy


@dataclass(slots=True, frozen=True)
class Command:
    """`names_run`: the view must have the run `run_id`, whatever its status, or its tombstone."""

    names_run: ClassVar[bool] = False

    thread_id: str


@dataclass(slots=True, frozen=True)
class CreateThread(Command):
    metadata: Json = "{}"
    default_strategy: Strategy | None = None
    max_queued_runs: int | None = None
    default_queue_policy: QueuePolicy | None = None
    on_failure: OnFailure | None = None


@dataclass(slots=True, frozen=True)
class UpdateThread(Command):
    """`changes`: the fields of Thread to set. The others stay."""

    changes: dict[str, Json | Strategy | QueuePolicy | OnFailure | int | None]


@dataclass(slots=True, frozen=True)
class DeleteThread(Command):
    pass


@dataclass(slots=True, frozen=True)
class ExpireThread(Command):
    """Delete the thread if it is idle and has not changed since `idle_since`."""

    idle_since: int


@dataclass(slots=True, frozen=True)
class UpdateState(Command):
    update: Json
    reducers: Reducers


@dataclass(slots=True, frozen=True)
class AdmitRun(Command):
    """Add a run to the thread, and do to the runs in flight what its strategy and its queue policy say.

    assistant        None when there is no assistant of that id
    strategy         None: the thread's default strategy holds, else `default_strategy`
    max_queued_runs  the limit of threads that have none of their own
    digest           of everything the call says; tells a repeated call from another call with its request_id
    queue_policy     None: the thread's default holds where the strategy may have it, else the strategy's own
    debounce         how long the run waits for further messages; only where its policy merges
    max_wait         how long the oldest of them may wait in all
    start_within     when it is due and has not started so long after, it ends TIMEOUT
    expected_run_id  the run that must have started and not ended; None: whichever
    """

    run_id: str
    assistant_id: str
    assistant: Assistant | None
    input: Json = "{}"
    metadata: Json = "{}"
    strategy: Strategy | None = None
    default_strategy: Strategy = Strategy.ENQUEUE
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    request_id: str | None = None
    digest: str = ""
    create_thread: bool = False
    delay: int = 0
    timeout: int | None = None
    queue_policy: QueuePolicy | None = None
    debounce: int | None = None
    max_wait: int | None = None
    start_within: int | None = None
    expected_run_id: str | None = None

    def strategy_on(self, thread: Thread) -> Strategy:
        return self.strategy or thread.default_strategy or self.default_strategy

    def policy_on(self, thread: Thread) -> QueuePolicy | None:
        return policy_of(self.strategy_on(thread), self.queue_policy, thread.default_queue_policy)


@dataclass(slots=True, frozen=True)
class ClaimRun(Command):
    """Start the next run, if its graph is one of `graphs`.

    worker_id  None for the server itself
    lease      how long the worker's lease lasts; None for the server itself
    """

    graphs: frozenset[str]
    worker_id: str | None = None
    lease: int | None = None


@dataclass(slots=True, frozen=True)
class RunCommand(Command):
    names_run: ClassVar[bool] = True

    run_id: str


@dataclass(slots=True, frozen=True)
class LeaseCommand(RunCommand):
    """A command of the attempt that claimed the run under `epoch`.

    by_worker: it came over the wire. Everybody there may know the run's id and epoch, so that it cannot be trusted to
    come from the server's own attempt.
    """

    epoch: int
    by_worker: bool = field(default=False, kw_only=True)


@dataclass(slots=True, frozen=True)
class CommitStep(LeaseCommand):
    """update         None: the call only absorbs
    expected_step  the number that its first step must get; recognises a repeated call
    absorb         the ids of runs that steer this one, whose inputs become steps after the update
    """

    update: Json | None
    expected_step: int | None = None
    absorb: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class PublishOutput(LeaseCommand):
    outputs: tuple[Output, ...]


@dataclass(slots=True, frozen=True)
class Heartbeat(LeaseCommand):
    """Let the lease end `lease` from now."""

    lease: int


@dataclass(slots=True, frozen=True)
class SucceedRun(LeaseCommand):
    """update  a last step, committed with the outcome
    digest  of the outcome; tells a repeated call from another one
    """

    update: Json | None = None
    digest: str | None = None


@dataclass(slots=True, frozen=True)
class FailRun(LeaseCommand):
    error_type: str
    error_message: str
    digest: str | None = None


@dataclass(slots=True, frozen=True)
class ReleaseRun(LeaseCommand):
    """Hand the run back to the head of the queue; of a stopped attempt, acknowledge the stop."""


@dataclass(slots=True, frozen=True)
class AcknowledgeStop(LeaseCommand):
    """The code of a stopped attempt has ended."""


@dataclass(slots=True, frozen=True)
class CancelRun(RunCommand):
    action: CancelAction


@dataclass(slots=True, frozen=True)
class DeleteRun(RunCommand):
    pass


@dataclass(slots=True, frozen=True)
class UpdateRun(RunCommand):
    """Change what is given of a run that waits.

    delay              from now on
    expected_revision  None: whichever the run has
    """

    input: Json | None = None
    metadata: Json | None = None
    delay: int | None = None
    timeout: int | None = None
    expected_revision: int | None = None


@dataclass(slots=True, frozen=True)
class MoveRun(RunCommand):
    """Give a run that waits another place in the line. `other`: the run that BEFORE and AFTER are about."""

    place: Place
    other: str | None = None
    expected_revision: int | None = None


@dataclass(slots=True, frozen=True)
class CancelRuns(Command):
    """Stop the runs in flight that have one of the statuses; empty: all of them."""

    statuses: frozenset[RunStatus]
    action: CancelAction


@dataclass(slots=True, frozen=True)
class Tick(Command):
    """Time has passed: end what is over.

    spared  the run that is not charged an attempt if its lease is over: another run may have killed their worker
    """

    spared: str | None = None


@dataclass(slots=True, frozen=True)
class Recover(Command):
    """The server's process has ended, and every attempt that it executed itself. Workers keep their leases.

    spared  as in Tick
    """

    spared: str | None = None
