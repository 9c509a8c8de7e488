"""The dicts that the client takes and returns. They have the keys of the protos.

Enums are the names of the protos, in lower case, without their prefix. Times are RFC 3339 text in UTC that ends in `Z`,
or None when absent. Durations are seconds, or None when absent. JSON objects are dicts, empty when absent. For an enum
value that only a newer server knows, the text is its number.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = dict[str, Any]

MultitaskStrategy: TypeAlias = Literal["reject", "interrupt", "rollback", "enqueue", "join", "steer"]
# "unspecified" leaves the choice to the server.
DefaultStrategy: TypeAlias = Literal["unspecified", "reject", "interrupt", "rollback", "enqueue", "join", "steer"]
QueuePolicy: TypeAlias = Literal["keep", "supersede", "merge"]
# "unspecified" leaves the choice to the strategy.
DefaultQueuePolicy: TypeAlias = Literal["unspecified", "keep", "supersede", "merge"]
OnFailure: TypeAlias = Literal["unspecified", "continue", "hold"]
RunStatus: TypeAlias = Literal["pending", "running", "interrupted", "success", "error", "timeout", "deleted", "merged"]
ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
Reducer: TypeAlias = Literal["replace", "append", "messages"]
IfThreadNotExists: TypeAlias = Literal["reject", "create"]
CancelAction: TypeAlias = Literal["interrupt", "rollback"]


class Thread(TypedDict):
    """A conversation. It is the unit of order and of isolation."""

    thread_id: str
    status: ThreadStatus
    metadata: Json
    default_strategy: DefaultStrategy
    max_queued_runs: int  # 0: the server's limit
    create_time: str | None
    update_time: str | None
    active_run_id: str  # the running run; empty when no run is running
    queued_runs: int  # the number of pending runs, including the delayed ones
    held: bool  # no run is started on it
    on_failure: OnFailure  # "hold": a run that fails holds the thread
    default_queue_policy: DefaultQueuePolicy


class RunError(TypedDict):
    """Why a run ended "error"."""

    type: str  # a name for programs: the class of the exception, or MaxAttempts
    message: str  # a sentence for people


class Run(TypedDict):
    """One execution of an assistant on a thread."""

    run_id: str
    thread_id: str
    assistant_id: str
    status: RunStatus
    multitask_strategy: MultitaskStrategy  # the strategy that was applied
    input: Json  # empty once the run is "deleted"
    metadata: Json
    sequence: int  # the order in which the thread's runs were accepted: 1, 2, 3 …
    queue_position: int  # 1 for the next run to start; 0 for a run that is not pending
    unserved: bool  # pending, and nobody is there who executes its graph
    attempt: int
    create_time: str | None
    due_time: str | None
    start_time: str | None
    end_time: str | None
    error: RunError | None
    superseded_by: str  # the later run that ended this one; empty when no run did
    reason: str  # SUPERSEDED, CANCELLED, TIMEOUT, …; empty when the graph ended the run
    timeout: float | None
    last_step: int  # the number of the newest step that the run made; 0 when it made none
    queue_policy: DefaultQueuePolicy  # the queue policy that was applied
    merged: list[str]  # the runs that became part of this one, in the order of their sequence
    merged_into: str  # the run that this one became part of; empty for none
    expire_time: str | None  # when it ends "timeout" unless it has started
    revision: int  # how many times it was edited while it waited


class CreatedRun(Run):
    """A new run, and the runs that it ended, in the order of their sequence."""

    superseded: list[Run]
    joined: bool  # the run was in flight, and the call made none


class State(TypedDict):
    """What a thread holds after one of its steps."""

    thread_id: str
    step: int  # 0 is the empty state before the first step
    run_id: str  # the run that made the step; empty for update_state and for step 0
    input_of: str  # the run whose input the step is, which may have been merged into `run_id`; empty for other steps
    values: Json
    create_time: str | None


class Joined(TypedDict):
    """A run, and the thread's state as the run left it. For a run that is not final: the thread's newest state."""

    run: Run
    state: State


# This TypedDict has this form because one of its keys is a keyword of Python.
RunChanged = TypedDict(
    "RunChanged",
    {
        "from": RunStatus | None,  # None when the run was accepted by this change
        "to": RunStatus,
        "superseded_by": str,
        "merged_into": str,
        "reason": str,
    },
)


class StepCommitted(TypedDict):
    """The thread's state has a new step."""

    step: int
    update: Json | None  # before the reducers are applied; None once the run was rolled back


class RunEdited(TypedDict):
    """A run that waits was changed or moved."""

    revision: int
    queue_position: int  # its place in the queue afterwards, from 1


class ThreadChanged(TypedDict):
    """The thread was held, or let go."""

    held: bool


class Output(TypedDict):
    """What a run shows while it works.

    What is `live_only` comes twice to those who watch with `live`: at once, with its number as `part`, and then
    together with others, as the list `value` of the parts from `first_part` to `last_part`.
    """

    channel: str
    data: Json | None  # None once the run was rolled back, and where there is a value
    value: NotRequired[Any]  # any other JSON value
    part: NotRequired[int]
    first_part: NotRequired[int]
    last_part: NotRequired[int]


class Event(TypedDict):
    """One committed fact about a thread. The events of a thread are numbered 1, 2, 3 … without gaps.

    kind  the name of the key that is there: "run_changed", "step_committed", "output", "run_edited" or "thread_changed"
    """

    sequence: int
    thread_id: str
    run_id: str  # empty for a step made by update_state, and for what is of the thread
    time: str | None
    kind: str
    run_changed: NotRequired[RunChanged]
    step_committed: NotRequired[StepCommitted]
    output: NotRequired[Output]
    run_edited: NotRequired[RunEdited]
    thread_changed: NotRequired[ThreadChanged]


class Assistant(TypedDict):
    """A graph with a name and a configuration."""

    assistant_id: str
    graph: str
    metadata: Json
    config: Json
    reducers: dict[str, Reducer]  # of each key of the state
    max_attempts: int
    stop_grace: float | None
    run_timeout: float | None  # None: no limit
    create_time: str | None
