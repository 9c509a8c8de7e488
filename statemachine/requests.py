"""What can be asked of a thread. Data only; the arbiter answers each with a Decision."""

from dataclasses import dataclass
from typing import ClassVar

from statemachine.model import Assistant, Json, Reducers
from statemachine.status import CancelAction, Strategy


@dataclass(slots=True, frozen=True)
class Request:
    """`names_run`: the decision needs the run `run_id` in whatever status it is, or its tombstone."""

    names_run: ClassVar[bool] = False

    thread_id: str


@dataclass(slots=True, frozen=True)
class CreateThread(Request):
    metadata: Json = "{}"
    default_strategy: Strategy | None = None
    max_queued_runs: int | None = None


@dataclass(slots=True, frozen=True)
class UpdateThread(Request):
    """`changes`: the fields of Thread to set; the others stay."""

    changes: dict[str, Json | Strategy | int | None]


@dataclass(slots=True, frozen=True)
class DeleteThread(Request):
    pass


@dataclass(slots=True, frozen=True)
class UpdateState(Request):
    update: Json
    reducers: Reducers


@dataclass(slots=True, frozen=True)
class AdmitRun(Request):
    """assistant        None when there is none of that id
    strategy         None leaves it to the thread, and then to `default_strategy`
    digest           of all that the call says, to tell a repeated call from another one with its request_id
    """

    run_id: str
    assistant_id: str
    assistant: Assistant | None
    input: Json = "{}"
    metadata: Json = "{}"
    strategy: Strategy | None = None
    default_strategy: Strategy = Strategy.ENQUEUE
    request_id: str | None = None
    digest: str = ""
    create_thread: bool = False
    delay: int = 0
    timeout: int | None = None


@dataclass(slots=True, frozen=True)
class ClaimRun(Request):
    """Start the next run, if it is of one of `graphs`."""

    graphs: frozenset[str]


@dataclass(slots=True, frozen=True)
class RunRequest(Request):
    names_run: ClassVar[bool] = True

    run_id: str


@dataclass(slots=True, frozen=True)
class LeaseRequest(RunRequest):
    """A request of the attempt that has claimed the run under `epoch`."""

    epoch: int


@dataclass(slots=True, frozen=True)
class CommitStep(LeaseRequest):
    update: Json


@dataclass(slots=True, frozen=True)
class PublishOutput(LeaseRequest):
    channel: str
    data: Json


@dataclass(slots=True, frozen=True)
class SucceedRun(LeaseRequest):
    """`update`: a last step, committed with the outcome."""

    update: Json | None = None


@dataclass(slots=True, frozen=True)
class FailRun(LeaseRequest):
    error_type: str
    error_message: str


@dataclass(slots=True, frozen=True)
class ReleaseRun(LeaseRequest):
    """Hand the run back to its place in line."""


@dataclass(slots=True, frozen=True)
class AcknowledgeStop(LeaseRequest):
    """The code of a stopped attempt has ended."""


@dataclass(slots=True, frozen=True)
class CancelRun(RunRequest):
    action: CancelAction


@dataclass(slots=True, frozen=True)
class DeleteRun(RunRequest):
    pass


@dataclass(slots=True, frozen=True)
class Tick(Request):
    """Time has passed."""


@dataclass(slots=True, frozen=True)
class Recover(Request):
    """The process that executed this thread's runs is gone, and all that it executed with it."""
