"""Between protobuf and the domain: reading requests, with every violation at once, and making answers."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from doubletext.structs import fill_struct, from_struct
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import worker_service_pb2 as worker_pb
from doubletext_server.store.protocol import EventRecord, RunRecord, State, ThreadRecord
from doubletext_statemachine.errors import InvalidField, InvalidPageToken
from doubletext_statemachine.model import Assistant, Json, Run, RunChanged, StepCommitted, StoppingAttempt, Tombstone
from doubletext_statemachine.words import CancelAction, Reason, Reducer, RunStatus, Strategy, ThreadStatus

E = TypeVar("E", bound=Enum)

ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
ID_RULE: Final = "1 to 128 characters of A-Z a-z 0-9 . _ -"
SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
LONGEST: Final = 366 * 24 * HOUR
MOST_KEYS: Final = 100
"""Of metadata: each is an entry in an index."""
MOST_FILTERS: Final = 16


def _numbers(prefix: str, kind: type[E], descriptor: Any) -> dict[E, int]:
    return {member: descriptor.Value(f"{prefix}_{member.name}") for member in kind}


STRATEGY: Final = _numbers("MULTITASK_STRATEGY", Strategy, pb.MultitaskStrategy)
RUN_STATUS: Final = _numbers("RUN_STATUS", RunStatus, pb.RunStatus)
THREAD_STATUS: Final = _numbers("THREAD_STATUS", ThreadStatus, pb.ThreadStatus)
REDUCER: Final = _numbers("REDUCER", Reducer, pb.Reducer)


class IfThreadNotExists(Enum):
    """A word of CreateRun only."""

    REJECT = "reject"
    CREATE = "create"


IF_THREAD_NOT_EXISTS: Final = _numbers("IF_THREAD_NOT_EXISTS", IfThreadNotExists, pb.IfThreadNotExists)
CANCEL_ACTION: Final = _numbers("CANCEL_ACTION", CancelAction, pb.CancelAction)


class Fields:
    """Reads a request's fields and collects what is wrong with them; `check` raises InvalidField with all of it."""

    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []

    def wrong(self, field: str, description: str) -> None:
        self.violations.append((field, description))

    def check(self) -> None:
        if self.violations:
            raise InvalidField(self.violations)

    def id(self, field: str, value: str) -> str:
        if not value:
            self.wrong(field, f"is required: {ID_RULE}")
        elif not ID.fullmatch(value):
            self.wrong(field, f"is {_shown(value)}; it must be {ID_RULE}")
        return value

    def optional_id(self, field: str, value: str) -> str:
        return self.id(field, value) if value else ""

    def given_id(self, field: str, request: Message) -> str | None:
        """An optional id: None when absent; empty is as wrong as malformed."""
        return self.id(field, getattr(request, field)) if request.HasField(field) else None

    def json(self, field: str, value: Struct) -> Json:
        """A Struct as JSON text. Keys are sorted, since a Struct has no order: the same object, the same text."""
        if not value.fields:
            return "{}"
        try:
            return dump(from_struct(value, field))
        except ValueError as error:
            self.wrong(field, str(error))
            return "{}"

    def metadata(self, field: str, value: Struct, most: int = MOST_KEYS) -> Json:
        """A Struct by which things are listed, or a filter of such lists, as JSON text."""
        if len(value.fields) > most:
            self.wrong(field, f"has {len(value.fields)} keys; it may have {most}")
            return "{}"
        return self.json(field, value)

    def enum(self, field: str, number: int, members: Mapping[E, int]) -> E | None:
        """The member, None for UNSPECIFIED."""
        if number == 0:
            return None
        for member, known in members.items():
            if known == number:
                return member
        names = ", ".join(f"{known} ({member.name})" for member, known in members.items())
        self.wrong(field, f"is {number}, which is none of {names}")
        return None

    def enums(self, field: str, numbers: Iterable[int], members: Mapping[E, int]) -> list[E]:
        found: list[E] = []
        for index, number in enumerate(numbers):
            member = self.enum(f"{field}[{index}]", number, members)
            if member is not None:
                found.append(member)
            elif number == 0:
                self.wrong(f"{field}[{index}]", "is UNSPECIFIED; leave the list empty for all")
        return found

    def duration(self, field: str, request: Message, least: int = 0, most: int = LONGEST) -> int | None:
        """Microseconds, rounded up; None when absent."""
        if not request.HasField(field):
            return None
        value: Duration = getattr(request, field)
        mixed_signs = value.seconds * value.nanos < 0
        if mixed_signs or abs(value.nanos) > 999_999_999:
            self.wrong(field, f"is no valid Duration: {value.seconds} seconds and {value.nanos} nanos")
            return None
        micros = value.seconds * SECOND - (-value.nanos // 1000)
        if value.nanos < 0 or not least <= micros <= most:
            low = "over 0" if least else "0"
            self.wrong(field, f"is {value.seconds + value.nanos / 1e9:g} s; it must be {low} to {most // SECOND} s")
        return micros

    def sequence(self, field: str, value: int) -> int:
        if value < 0:
            self.wrong(field, f"is {value}; it must be 0, for all events, or the sequence of one")
        return value

    def count(self, field: str, value: int, most: int, default: int) -> int:
        """1 to `most`; 0 stands for the default."""
        if not 0 <= value <= most:
            self.wrong(field, f"is {value}; it must be 1 to {most}, or 0 for {default or 'no limit of its own'}")
        return value or default

    def page(
        self, request: Any, most: int, default: int, shape: tuple[type, ...], *binding: object
    ) -> tuple[int, list[Any] | None]:
        """A page's size and where it starts (None: at the beginning). Raises InvalidPageToken."""
        size = self.count("page_size", request.page_size, most, default)
        self.check()
        return size, read_token(request.page_token, shape, *binding) if request.page_token else None


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")


dump: Final[Callable[[Any], Json]] = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
"""A JSON object as text."""


def digest(*parts: object) -> str:
    """Tells one content from another."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# Page tokens: where the next page starts, bound to the request that they were given for.


def token(position: list[Any] | None, *binding: object) -> str:
    if position is None:
        return ""
    text = json.dumps([digest(*binding)[:16], position])
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_token(text: str, shape: tuple[type, ...], *binding: object) -> list[Any]:
    """Where the page starts: values of the types in `shape`. Raises InvalidPageToken."""
    try:
        bound, position = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise InvalidPageToken from None
    if bound != digest(*binding)[:16] or not _is_position(position, shape):
        raise InvalidPageToken
    return list(position)


def _is_position(value: Any, shape: tuple[type, ...]) -> bool:
    if not isinstance(value, list) or tuple(type(part) for part in value) != shape:
        return False
    return all(ID.fullmatch(part) if isinstance(part, str) else abs(part) < 1 << 62 for part in value)


# Answers


def thread(record: ThreadRecord) -> pb.Thread:
    thread = record.thread
    message = pb.Thread(
        thread_id=thread.thread_id,
        status=pb.ThreadStatus.ValueType(THREAD_STATUS[record.status]),
        default_strategy=pb.MultitaskStrategy.ValueType(
            STRATEGY[thread.default_strategy] if thread.default_strategy else 0
        ),
        max_queued_runs=thread.max_queued_runs or 0,
        active_run_id=record.active_run_id or "",
        queued_runs=record.queued_runs,
    )
    _set_object(message.metadata, thread.metadata)
    _set_time(message.create_time, thread.create_time)
    _set_time(message.update_time, thread.update_time)
    return message


def run(record: RunRecord) -> pb.Run:
    run = record.run
    assert run.status is not None
    message = pb.Run(
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant.assistant_id,
        status=pb.RunStatus.ValueType(RUN_STATUS[run.status]),
        multitask_strategy=pb.MultitaskStrategy.ValueType(STRATEGY[run.strategy]),
        sequence=run.sequence,
        queue_position=record.queue_position,
        attempt=run.attempt,
        superseded_by=run.superseded_by or "",
        reason=run.reason.value if run.reason else "",
        last_step=run.last_step,
    )
    if record.input is not None:
        _set_object(message.input, record.input)
    if record.metadata is not None:
        _set_object(message.metadata, record.metadata)
    _set_time(message.create_time, run.create_time)
    _set_time(message.due_time, run.due_time)
    _set_time(message.start_time, run.start_time)
    _set_time(message.end_time, run.end_time)
    if run.timeout is not None:
        _set_duration(message.timeout, run.timeout)
    if run.error_type is not None:
        message.error.type = run.error_type
        message.error.message = run.error_message or ""
    return message


def buried_run(tombstone: Tombstone) -> pb.Run:
    """What is left of a run that was rolled back."""
    message = pb.Run(
        run_id=tombstone.run_id,
        thread_id=tombstone.thread_id,
        status=pb.RUN_STATUS_DELETED,
        superseded_by=tombstone.superseded_by or "",
        reason=tombstone.reason.value,
    )
    _set_time(message.create_time, tombstone.create_time)
    _set_time(message.end_time, tombstone.delete_time)
    return message


def any_run(found: RunRecord | Tombstone) -> pb.Run:
    return buried_run(found) if isinstance(found, Tombstone) else run(found)


def state(state: State) -> pb.State:
    message = pb.State(thread_id=state.thread_id, step=state.step, run_id=state.run_id or "")
    message.values.SetInParent()
    fill_struct(message.values, state.values)
    _set_time(message.create_time, state.create_time)
    return message


def lease(run: Run) -> worker_pb.Lease:
    message = worker_pb.Lease(run_id=run.run_id, epoch=run.epoch)
    _set_time(message.expire_time, run.lease_expires)
    return message


def stopping_lease(stopping: StoppingAttempt) -> worker_pb.Lease:
    """The lease of a stopped attempt, for what is left of its grace."""
    message = worker_pb.Lease(run_id=stopping.run_id, epoch=stopping.epoch)
    _set_time(message.expire_time, stopping.until)
    return message


def stop(run: Run | Tombstone | None, grace: int) -> worker_pb.Stop:
    """Why the run's attempt is to stop; None for a run whose record was deleted since."""
    message = worker_pb.Stop(reason=Reason.CANCELLED.value)
    if run is not None and run.reason is not None:
        message = worker_pb.Stop(reason=run.reason.value, superseded_by=run.superseded_by or "")
    _set_duration(message.grace, max(grace, 0))
    return message


def event(thread_id: str, record: EventRecord) -> pb.Event:
    event, kind = record.event, record.event.kind
    message = pb.Event(sequence=event.sequence, thread_id=thread_id, run_id=event.run_id or "")
    _set_time(message.time, record.time)
    if isinstance(kind, RunChanged):
        setattr(message.run_changed, "from", pb.RunStatus.ValueType(RUN_STATUS[kind.before] if kind.before else 0))
        message.run_changed.to = pb.RunStatus.ValueType(RUN_STATUS[kind.after])
        message.run_changed.superseded_by = kind.superseded_by or ""
        message.run_changed.reason = kind.reason.value if kind.reason else ""
    elif isinstance(kind, StepCommitted):
        message.step_committed.step = kind.step
        if record.data is not None:
            _set_object(message.step_committed.update, record.data)
    else:
        message.output.channel = kind.channel
        if record.data is not None:
            _set_object(message.output.data, record.data)
    return message


def assistant(assistant: Assistant) -> pb.Assistant:
    message = pb.Assistant(
        assistant_id=assistant.assistant_id,
        graph=assistant.graph,
        reducers={key: pb.Reducer.ValueType(REDUCER[reducer]) for key, reducer in assistant.reducers.items()},
        max_attempts=assistant.max_attempts,
    )
    _set_object(message.metadata, assistant.metadata)
    _set_object(message.config, assistant.config)
    _set_duration(message.stop_grace, assistant.stop_grace)
    if assistant.run_timeout is not None:
        _set_duration(message.run_timeout, assistant.run_timeout)
    _set_time(message.create_time, assistant.create_time)
    return message


def rfc3339(micros: int) -> str:
    stamp = Timestamp()
    _set_time(stamp, micros)
    return stamp.ToJsonString()


def _set_object(target: Struct, text: Json) -> None:
    target.SetInParent()
    if text != "{}":
        fill_struct(target, json.loads(text))


def copy_object(target: Struct, source: Struct) -> None:
    target.SetInParent()
    target.CopyFrom(source)


def _set_time(target: Timestamp, micros: int | None) -> None:
    if micros is not None:
        target.seconds, rest = divmod(micros, SECOND)
        target.nanos = rest * 1000


def _set_duration(target: Duration, micros: int) -> None:
    target.SetInParent()
    target.seconds, rest = divmod(micros, SECOND)
    target.nanos = rest * 1000
