"""Turn protobuf messages into the dicts of `doubletext.types`, and the client's arguments into protobuf.

Nothing here does I/O. A wrong argument raises ValueError or TypeError before anything is sent.
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from doubletext import jsontext, types
from doubletext.structs import from_struct
from doubletext.v1 import resources_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

V = TypeVar("V", bound=int)
READ: Final[ContextVar[Callable[[str], dict[str, Any]]]] = ContextVar("READ", default=jsontext.loads)
"""How JSON text becomes values. The command line sets `jsontext.read`: it prints each number as it was written."""


_MAX_SECONDS: Final = 315_576_000_000


class Names(Generic[V]):
    """The values of one proto enum, by the names that callers use: lower case, without the prefix."""

    def __init__(self, field: str, enum: "_EnumTypeWrapper[V]", *, unspecified: bool = False) -> None:
        self._field = field
        self._unspecified = enum.values()[0]
        prefix = enum.Name(self._unspecified).removesuffix("UNSPECIFIED")
        self._names: Final[dict[int, str]] = {v: k.removeprefix(prefix).lower() for k, v in enum.items()}
        self._values: Final = {self._names[v]: v for v in enum.values() if v or unspecified}

    def name(self, value: int) -> Any:
        """Return the value's name; for a value that only a newer server knows, its number as text."""
        return self._names.get(value, str(value))

    def value(self, name: str) -> V:
        """Return the enum's value. Raises ValueError for an unknown name; its message lists the names."""
        if name not in self._values:
            raise ValueError(f"{self._field} {name!r} is unknown; the names are {', '.join(self._values)}")
        return self._values[name]

    def values(self, names: Iterable[str]) -> "list[V]":
        return [self.value(name) for name in names]

    def or_absent(self, name: str | None) -> V | None:
        return None if name is None else self.value(name)

    def or_unspecified(self, name: str | None) -> V:
        return self._unspecified if name is None else self.value(name)


STRATEGY: Final = Names("multitask_strategy", pb.MultitaskStrategy)
DEFAULT_STRATEGY: Final = Names("default_strategy", pb.MultitaskStrategy, unspecified=True)
QUEUE_POLICY: Final = Names("queue_policy", pb.QueuePolicy)
DEFAULT_QUEUE_POLICY: Final = Names("default_queue_policy", pb.QueuePolicy, unspecified=True)
ON_FAILURE: Final = Names("on_failure", pb.OnFailure, unspecified=True)
RUN_STATUS: Final = Names("status", pb.RunStatus)
THREAD_STATUS: Final = Names("status", pb.ThreadStatus)
REDUCER: Final = Names("reducer", pb.Reducer)
IF_THREAD_NOT_EXISTS: Final = Names("if_thread_not_exists", pb.IfThreadNotExists)
CANCEL_ACTION: Final = Names("action", pb.CancelAction)


def text(values: Mapping[str, Any] | None) -> str:
    """Return a JSON object as text, and "" for None.

    Raises TypeError for a value that JSON does not have, and ValueError for a number that is not finite, and for an
    object that is nested too deeply.
    """
    return "" if values is None else jsontext.dumps(values)


def values(message: Any, name: str) -> dict[str, Any]:
    """Return the JSON object that a message has as text, or from a server that does not know that, as a Struct."""
    if found := getattr(message, f"{name}_json"):
        return READ.get()(found)
    return from_struct(getattr(message, name))


def values_or_none(message: Any, name: str) -> dict[str, Any] | None:
    return values(message, name) if getattr(message, f"{name}_json") or message.HasField(name) else None


def duration(seconds: float | None) -> Duration | None:
    """Return seconds as a Duration, exact to the nanosecond, and None for None.

    Raises ValueError for NaN, for the infinities, and for more than 10 000 years.
    """
    if seconds is None:
        return None
    # Checked here, because the errors of the calls below name neither the value nor its unit.
    if not abs(seconds) <= _MAX_SECONDS:
        raise ValueError(f"{seconds} is no number of seconds that a duration can have")
    message = Duration()
    # Computed from the shortest decimal text: as doubles, 31622400.1 times 10^9 loses its last digits.
    message.FromNanoseconds(round(Decimal(str(seconds)).scaleb(9)))
    return message


def seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def _time(message: "pb.Run | pb.Thread | pb.State | pb.Assistant | pb.Event", field: Any) -> str | None:
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToJsonString()


def thread(message: pb.Thread) -> types.Thread:
    return {
        "thread_id": message.thread_id,
        "status": THREAD_STATUS.name(message.status),
        "metadata": values(message, "metadata"),
        "default_strategy": DEFAULT_STRATEGY.name(message.default_strategy),
        "max_queued_runs": message.max_queued_runs,
        "create_time": _time(message, "create_time"),
        "update_time": _time(message, "update_time"),
        "active_run_id": message.active_run_id,
        "queued_runs": message.queued_runs,
        "default_queue_policy": DEFAULT_QUEUE_POLICY.name(message.default_queue_policy),
        "held": message.held,
        "on_failure": ON_FAILURE.name(message.on_failure),
    }


def run(message: pb.Run) -> types.Run:
    error = message.error
    return {
        "run_id": message.run_id,
        "thread_id": message.thread_id,
        "assistant_id": message.assistant_id,
        "status": RUN_STATUS.name(message.status),
        "multitask_strategy": STRATEGY.name(message.multitask_strategy),
        "input": values(message, "input"),
        "metadata": values(message, "metadata"),
        "sequence": message.sequence,
        "queue_position": message.queue_position,
        "unserved": message.unserved,
        "attempt": message.attempt,
        "create_time": _time(message, "create_time"),
        "due_time": _time(message, "due_time"),
        "start_time": _time(message, "start_time"),
        "end_time": _time(message, "end_time"),
        "error": {"type": error.type, "message": error.message} if message.HasField("error") else None,
        "superseded_by": message.superseded_by,
        "reason": message.reason,
        "timeout": seconds(message.timeout) if message.HasField("timeout") else None,
        "last_step": message.last_step,
        "queue_policy": DEFAULT_QUEUE_POLICY.name(message.queue_policy),
        "merged": list(message.merged),
        "merged_into": message.merged_into,
        "expire_time": _time(message, "expire_time"),
        "revision": message.revision,
    }


def state(message: pb.State) -> types.State:
    return {
        "thread_id": message.thread_id,
        "step": message.step,
        "run_id": message.run_id,
        "input_of": message.input_of,
        "values": values(message, "values"),
        "create_time": _time(message, "create_time"),
    }


def event(message: pb.Event) -> types.Event:
    kind = message.WhichOneof("kind")
    converted: types.Event = {
        "sequence": message.sequence,
        "thread_id": message.thread_id,
        "run_id": message.run_id,
        "time": _time(message, "time"),
        "kind": kind or "",
    }
    if kind == "run_changed":
        changed = message.run_changed
        before: int = getattr(changed, "from")
        converted["run_changed"] = {
            "from": RUN_STATUS.name(before) if before else None,
            "to": RUN_STATUS.name(changed.to),
            "superseded_by": changed.superseded_by,
            "merged_into": changed.merged_into,
            "reason": changed.reason,
        }
    elif kind == "step_committed":
        step = message.step_committed
        converted["step_committed"] = {"step": step.step, "update": values_or_none(step, "update")}
    elif kind == "output":
        converted["output"] = output(message.output)
    elif kind == "run_edited":
        edited = message.run_edited
        converted["run_edited"] = {"revision": edited.revision, "queue_position": edited.queue_position}
    elif kind == "thread_changed":
        converted["thread_changed"] = {"held": message.thread_changed.held}
    return converted


def output(message: pb.Output) -> types.Output:
    converted: types.Output = {"channel": message.channel, "data": values_or_none(message, "data")}
    if message.value_json or message.HasField("value"):
        whole = pb.Output(data_json=f'{{"":{message.value_json}}}')
        if not message.value_json:
            whole = pb.Output(data=Struct(fields={"": message.value}))
        converted["value"] = values(whole, "data")[""]
    if message.part:
        converted["part"] = message.part
    if message.first_part:
        converted["first_part"], converted["last_part"] = message.first_part, message.last_part
    return converted


def assistant(message: pb.Assistant) -> types.Assistant:
    return {
        "assistant_id": message.assistant_id,
        "graph": message.graph,
        "metadata": values(message, "metadata"),
        "config": values(message, "config"),
        "reducers": {key: REDUCER.name(value) for key, value in message.reducers.items()},
        "max_attempts": message.max_attempts,
        "stop_grace": seconds(message.stop_grace) if message.HasField("stop_grace") else None,
        "run_timeout": seconds(message.run_timeout) if message.HasField("run_timeout") else None,
        "create_time": _time(message, "create_time"),
    }
