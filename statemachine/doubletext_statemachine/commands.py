"""What can be asked of a thread. Data only; the arbiter answers each with a Decision."""

from dataclasses import dataclass, field
from typing import ClassVar

from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, Assistant, Json, Output, Reducers, Thread
from doubletext_statemachine.words import CancelAction, Strategy


@dataclass(slots=True, frozen=True)
class Command:
    """`names_run`: the decision needs the run `run_id` in whatever status it is, or its tombstone."""

    names_run: ClassVar[bool] = False

    thread_id: str


@dataclass(slots=True, frozen=True)
class CreateThread(Command):
    metadata: Json = "{}"
    default_strategy: Strategy | None = None
    max_queued_runs: int | None = None


@dataclass(slots=True, frozen=True)
class UpdateThread(Command):
    """`changes`: the fields of Thread to set; the others stay."""

    changes: dict[str, Json | Strategy | int | None]


@dataclass(slots=True, frozen=True)
class DeleteThread(Command):
    pass


@dataclass(slots=True, frozen=True)
class ExpireThread(Command):
    """Delete the thread if nothing has happened on it since, and nothing is about to."""

    idle_since: int


@dataclass(slots=True, frozen=True)
class UpdateState(Command):
    update: Json
    reducers: Reducers


@dataclass(slots=True, frozen=True)
class AdmitRun(Command):
    """assistant        None when there is none of that id
    strategy         None leaves it to the thread, and then to `default_strategy`
    max_queued_runs  of threads that have no limit of their own
    digest           of all that the call says, to tell a repeated call from another one with its request_id
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

    def strategy_on(self, thread: Thread) -> Strategy:
        return self.strategy or thread.default_strategy or self.default_strategy


@dataclass(slots=True, frozen=True)
class ClaimRun(Command):
    """Start the next run, if it is of one of `graphs`.

    worker_id, lease  of a worker, and how long its lease lasts; None for the server itself
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
    """A request of the attempt that has claimed the run under `epoch`.

    by_worker: it came over the wire, where everybody knows the run's id, so that it can't be the server's own attempt.
    """

    epoch: int
    by_worker: bool = field(default=False, kw_only=True)


@dataclass(slots=True, frozen=True)
class CommitStep(LeaseCommand):
    """`expected_step`: the number that the step is to have, by which a repeated call is recognised."""

    update: Json
    expected_step: int | None = None


@dataclass(slots=True, frozen=True)
class PublishOutput(LeaseCommand):
    outputs: tuple[Output, ...]


@dataclass(slots=True, frozen=True)
class Heartbeat(LeaseCommand):
    """Let the lease last for another `lease` from now."""

    lease: int


@dataclass(slots=True, frozen=True)
class SucceedRun(LeaseCommand):
    """update  a last step, committed with the outcome
    digest  of the outcome, to tell a repeated call from another one
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
    """Hand the run back to its place in line, or acknowledge that it was stopped."""


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
class Tick(Command):
    """Time has passed."""


@dataclass(slots=True, frozen=True)
class Recover(Command):
    """The server's process is gone, and all that it executed itself with it. Workers keep their leases."""
