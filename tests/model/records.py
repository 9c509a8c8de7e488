"""What the oracle keeps, and how the Python client shows it. Times and durations are microseconds."""

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from unittest.mock import ANY

from google.protobuf.timestamp_pb2 import Timestamp

Json: TypeAlias = dict[str, Any]

IN_FLIGHT: Final = ("pending", "running")


@dataclass
class Assistant:
    assistant_id: str
    graph: str
    create_time: int
    reducers: dict[str, str] = field(default_factory=lambda: {"messages": "messages"})
    max_attempts: int = 3
    stop_grace: int = 5_000_000
    run_timeout: int | None = None


@dataclass
class Run:
    """base: the thread's newest step before the run's input. left: the step whose state it left. lease: when its
    worker's lease ends. outcome: what a worker finished it with. rank: its place among those that wait. taken: the runs
    that have become part of it, in order of their sequence."""

    run_id: str
    thread_id: str
    sequence: int
    assistant: Assistant
    strategy: str
    input: Json
    metadata: Json
    create_time: int
    due_time: int
    timeout: int | None
    status: str = "pending"
    attempt: int = 0
    epoch: int = 0
    start_time: int | None = None
    end_time: int | None = None
    base: int | None = None
    left: int = 0
    last_step: int = 0
    error: Json | None = None
    superseded_by: str = ""
    reason: str = ""
    lease: int | None = None
    outcome: object = None
    queue_policy: str = "unspecified"
    rank: float = 0
    merged_into: str = ""
    debounced: bool = False
    expire_time: int | None = None
    taken: list["Run"] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        return self.status == "pending" and self.base is None


@dataclass
class Stopped:
    """A stopped attempt whose code the thread waits for, until it acknowledges or its time is up."""

    run: Run
    grace_until: int
    until: int


@dataclass
class Step:
    run_id: str
    update: Json
    reducers: dict[str, str]
    create_time: int
    input_of: str = ""


@dataclass
class Thread:
    """requests: by request_id, the run's id, what the call said, and whether it was answered a run in flight."""

    thread_id: str
    create_time: int
    update_time: int
    metadata: Json = field(default_factory=dict)
    default_strategy: str = "unspecified"
    max_queued_runs: int = 0
    default_queue_policy: str = "unspecified"
    admitted: int = 0
    runs: dict[str, Run] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    requests: dict[str, tuple[str, object, bool]] = field(default_factory=dict)
    stopped: Stopped | None = None

    @property
    def in_flight(self) -> list[Run]:
        return [run for run in self.runs.values() if run.status in IN_FLIGHT]

    @property
    def running(self) -> Run | None:
        return next((run for run in self.runs.values() if run.status == "running"), None)

    def line(self, now: int) -> list[Run]:
        """The pending runs as they will start: the one that was handed back, the due ones, the delayed ones."""
        waiting = [run for run in self.runs.values() if run.status == "pending"]
        return sorted(waiting, key=lambda run: (run.base is None, max(run.due_time - now, 0), run.rank))

    def state(self, step: int) -> Json:
        values: Json = {}
        for each in self.steps[:step]:
            for key, value in each.update.items():
                values[key] = reduced(each.reducers.get(key, "replace"), values.get(key), value)
        made = self.steps[step - 1] if step else None
        return {
            "thread_id": self.thread_id,
            "step": step,
            "run_id": made.run_id if made else "",
            "input_of": made.input_of if made else "",
            "values": values,
            "create_time": when(made.create_time if made else self.create_time),
        }

    def view(self) -> Json:
        return {
            "thread_id": self.thread_id,
            "status": self.status(),
            "metadata": self.metadata,
            "default_strategy": self.default_strategy,
            "max_queued_runs": self.max_queued_runs,
            "create_time": when(self.create_time),
            "update_time": when(self.update_time),
            "active_run_id": self.running.run_id if self.running else "",
            "queued_runs": len(self.in_flight) - (self.running is not None),
            "default_queue_policy": self.default_queue_policy,
            "held": False,
            "on_failure": "unspecified",
        }

    def status(self) -> str:
        if self.in_flight:
            return "busy"
        over = [run for run in self.runs.values() if run.status != "merged"]
        newest = max(over, key=lambda run: (run.end_time, run.sequence), default=None)
        outcome = newest.status if newest else "success"
        return {"interrupted": "interrupted", "success": "idle"}.get(outcome, "error")


def reduced(reducer: str, old: Any, new: Any) -> Any:
    if reducer == "replace":
        return new
    made = list(as_list(old))
    for item in as_list(new):
        name = item.get("id") if isinstance(item, dict) and reducer == "messages" else None
        same = [
            n
            for n, there in enumerate(made)
            if name is not None and isinstance(there, dict) and there.get("id") == name
        ]
        if same:
            made[same[0]] = item
        else:
            made.append(item)
    return made


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def when(micros: int | None) -> str | None:
    if micros is None:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp.ToJsonString()


def seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000


def micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def run_view(run: Run, position: int = 0) -> Json:
    gone = run.status == "deleted"
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant.assistant_id,
        "status": run.status,
        "multitask_strategy": run.strategy,
        "input": {} if gone else run.input,
        "metadata": {} if gone else run.metadata,
        "sequence": run.sequence,
        "queue_position": position,
        "unserved": ANY,  # depends on when a worker last asked, which the model does not know
        "attempt": run.attempt,
        "create_time": when(run.create_time),
        "due_time": when(run.due_time),
        "start_time": when(run.start_time),
        "end_time": when(run.end_time),
        "error": run.error,
        "superseded_by": run.superseded_by,
        "reason": run.reason,
        "timeout": seconds(run.timeout),
        "last_step": run.last_step,
        "queue_policy": run.queue_policy,
        "merged": [] if gone else [taken.run_id for taken in run.taken],
        "merged_into": run.merged_into,
        "expire_time": when(run.expire_time),
        "revision": 0,
    }


LEFT_OF_A_RUN: Final = (
    "run_id",
    "thread_id",
    "status",
    "create_time",
    "end_time",
    "superseded_by",
    "reason",
    "merged_into",
)
EMPTY: Final[Json] = {
    "unserved": False,
    "assistant_id": "",
    "multitask_strategy": "unspecified",
    "queue_policy": "unspecified",
    "merged": [],
    "input": {},
    "metadata": {},
    "error": None,
}


def grave_view(run: Run) -> Json:
    """What is left of a run that was rolled back: ids, times and the cause."""
    view = run_view(run)
    absent = {key: None if key.endswith("time") or key == "timeout" else 0 for key in view}
    return {**absent, **EMPTY, **{key: view[key] for key in LEFT_OF_A_RUN}}


def assistant_view(assistant: Assistant) -> Json:
    return {
        "assistant_id": assistant.assistant_id,
        "graph": assistant.graph,
        "metadata": {},
        "config": {},
        "reducers": assistant.reducers,
        "max_attempts": assistant.max_attempts,
        "stop_grace": seconds(assistant.stop_grace),
        "run_timeout": seconds(assistant.run_timeout),
        "create_time": when(assistant.create_time),
    }


def changed(before: str | None, run: Run) -> Json:
    merged_into = run.merged_into if run.status == "merged" else ""
    ends = {"superseded_by": run.superseded_by, "merged_into": merged_into, "reason": run.reason}
    return {"from": before, "to": run.status, **ends}


def fits(view: Json, metadata: Json) -> bool:
    return all(view["metadata"].get(key) == value for key, value in metadata.items())
