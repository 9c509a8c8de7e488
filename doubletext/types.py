"""What the client takes and returns: plain dicts, with the keys of the protos.

Enums are the protos' names in lower case without their prefix. Times are RFC 3339 text in UTC ending in `Z`, None when
absent; durations are seconds, None when absent; JSON objects are dicts, empty when absent. A name that a newer server
knows and this package does not comes as the number in text.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = dict[str, Any]

MultitaskStrategy: TypeAlias = Literal["reject", "interrupt", "rollback", "enqueue"]
# "unspecified" leaves the choice to the server.
DefaultStrategy: TypeAlias = Literal["unspecified", "reject", "interrupt", "rollback", "enqueue"]
RunStatus: TypeAlias = Literal["pending", "running", "interrupted", "success", "error", "timeout", "deleted"]
ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
Reducer: TypeAlias = Literal["replace", "append", "messages"]
IfThreadNotExists: TypeAlias = Literal["reject", "create"]
CancelAction: TypeAlias = Literal["interrupt", "rollback"]


class Thread(TypedDict):
    """A conversation: the unit of ordering and of isolation."""

    thread_id: str
    status: ThreadStatus
    metadata: Json
    default_strategy: DefaultStrategy
    max_queued_runs: int  # 0 leaves it to the server's limit
    create_time: str | None
    update_time: str | None
    active_run_id: str  # the run that is running; empty when none is
    queued_runs: int  # runs that are pending, the delayed ones included


class RunError(TypedDict):
    """Why a run ended "error"."""

    type: str  # a name for programs: the exception's class, or MaxAttempts
    message: str  # a sentence for people


class Run(TypedDict):
    """One execution of an assistant on a thread."""

    run_id: str
    thread_id: str
    assistant_id: str
    status: RunStatus
    multitask_strategy: MultitaskStrategy  # the one that was applied
    input: Json  # empty once the run is "deleted"
    metadata: Json
    sequence: int  # admission order on the thread: 1, 2, 3 …
    queue_position: int  # 1 for the next run to start; 0 for a run that is not waiting
    attempt: int
    create_time: str | None
    due_time: str | None
    start_time: str | None
    end_time: str | None
    error: RunError | None
    superseded_by: str  # the run whose admission ended this one; empty otherwise
    reason: str  # SUPERSEDED, CANCELLED, TIMEOUT, …; empty when the graph ended the run
    timeout: float | None
    last_step: int  # the newest step that the run made; 0 when it made none


class CreatedRun(Run):
    """A run just accepted, and the runs that it ended, in order of their sequence."""

    superseded: list[Run]


class State(TypedDict):
    """What a thread holds after one of its steps."""

    thread_id: str
    step: int  # 0 is the empty state before the first step
    run_id: str  # the run that made the step; empty for update_state and for step 0
    values: Json
    create_time: str | None


class Joined(TypedDict):
    """A run, and the thread's state as the run left it (while the run is not final: the thread's newest)."""

    run: Run
    state: State


# A TypedDict in this form since one of the keys is a word of Python.
RunChanged = TypedDict(
    "RunChanged",
    {
        "from": RunStatus | None,  # None for a run that was just accepted
        "to": RunStatus,
        "superseded_by": str,
        "reason": str,
    },
)


class StepCommitted(TypedDict):
    """The thread's state has a new step."""

    step: int
    update: Json | None  # before the reducers; None once the run was rolled back


class Output(TypedDict):
    """What a run shows while it works."""

    channel: str
    data: Json | None  # None once the run was rolled back


class Event(TypedDict):
    """One committed fact about a thread; its events are numbered 1, 2, 3 … without gaps.

    kind  which of the keys below it is there
    """

    sequence: int
    thread_id: str
    run_id: str  # empty for a step made by update_state
    time: str | None
    kind: str
    run_changed: NotRequired[RunChanged]
    step_committed: NotRequired[StepCommitted]
    output: NotRequired[Output]


class Assistant(TypedDict):
    """A named, configured graph."""

    assistant_id: str
    graph: str
    metadata: Json
    config: Json
    reducers: dict[str, Reducer]  # by key of the state
    max_attempts: int
    stop_grace: float | None
    run_timeout: float | None  # None is no limit
    create_time: str | None
