"""Turn requests into the values that use cases take.

A value that cannot be read becomes an Unreadable. The use case then refuses it together with all other wrong fields.
"""

from collections.abc import Mapping, Sequence, Sized
from enum import Enum
from typing import Any, Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from doubletext import jsontext
from doubletext.structs import from_struct
from doubletext.v1 import assistant_service_pb2 as assistant_pb
from doubletext.v1 import run_service_pb2 as run_pb
from doubletext.v1 import worker_service_pb2 as worker_pb
from doubletext_server.clock import SECOND_US
from doubletext_server.grpc.wire.enums import IF_THREAD_NOT_EXISTS, QUEUE_POLICY, REDUCER, STRATEGY, IfThreadNotExists
from doubletext_server.usecases.admission import NewRun
from doubletext_server.usecases.assistants import NewAssistant
from doubletext_server.usecases.editing import Edit
from doubletext_server.usecases.leases import LeaseKey
from doubletext_server.usecases.limits import MOST_OUTPUTS, MOST_REDUCERS, MOST_STATUSES, MOST_VALUES
from doubletext_server.usecases.paging import PageRequest
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import EMPTY, Given, JsonObject, Unreadable
from doubletext_server.usecases.values import json_object as of_text
from doubletext_server.usecases.workers import Failure, NewOutput, Success
from doubletext_statemachine.words import Place

E = TypeVar("E", bound=Enum)

LEAST_BYTES: Final = 4
"""A value takes so many bytes at least in a Struct, as an element of a list."""
UNSPECIFIED_FILTER: Final = Unreadable("is UNSPECIFIED; leave the list empty for all")


def json_object(request: Any, name: str, field: str = "") -> JsonObject:
    """Return an object that the request has as `name`, a Struct, or as JSON text beside it; empty when it has neither.

    `field` is its path, where that is not its name.
    """
    field = field or name
    if not (text := getattr(request, f"{name}_json")):
        return _of_struct(getattr(request, name), field)
    if request.HasField(name):
        return JsonObject("{}", 0, f"{field} and {field}_json are both given; give one of them")
    return of_text(text, f"{field}_json")


def _of_struct(value: Struct, field: str) -> JsonObject:
    if not (keys := len(value.fields)):
        return EMPTY
    if value.ByteSize() >= LEAST_BYTES * MOST_VALUES and _has_more_values(value, MOST_VALUES):
        return JsonObject("{}", keys, f"{field} has more than {MOST_VALUES} values")
    try:
        return JsonObject(jsontext.written(from_struct(value, field), sort=True), keys)
    except ValueError as error:
        return JsonObject("{}", keys, str(error))


def _has_more_values(value: Struct, most: int) -> bool:
    """Whether an object holds more than so many values. Takes no longer than to look at so many."""
    left, waiting = most, [value.fields.values()]
    left -= len(value.fields)
    while waiting and left >= 0:
        for each in waiting.pop():
            if each.HasField("struct_value"):
                inner: Any = each.struct_value.fields
                waiting.append(inner.values())
            elif each.HasField("list_value"):
                inner = each.list_value.values
                waiting.append(inner)
            else:
                continue
            left -= len(inner)
            if left < 0:
                break
    return left < 0


def given_object(request: Any, name: str, field: str = "") -> JsonObject | None:
    """Return an object as `json_object` does, or None when it is absent."""
    if request.HasField(name) or getattr(request, f"{name}_json"):
        return json_object(request, name, field)
    return None


def given(request: Any, name: str) -> Any:
    """Return a field of the request, or None when it is absent."""
    return getattr(request, name) if request.HasField(name) else None


def enum(number: int, numbers: Mapping[E, int]) -> Given[E | None]:
    """Return the word of an enum's number, or None for UNSPECIFIED."""
    if number == 0:
        return None
    for member, known in numbers.items():
        if known == number:
            return member
    names = ", ".join(f"{known} ({member.name})" for member, known in numbers.items())
    return Unreadable(f"is {number}, which is none of {names}")


def filters(given: Sequence[int], numbers: Mapping[E, int]) -> list[Given[E]]:
    _most("statuses", given, MOST_STATUSES, "statuses")
    return [enum(number, numbers) or UNSPECIFIED_FILTER for number in given]


def duration(request: Message, name: str) -> Given[int | None]:
    """Return microseconds, or None when absent. Rounded away from 0, so that only 0 becomes 0."""
    if not request.HasField(name):
        return None
    value: Duration = getattr(request, name)
    seconds, nanos = value.seconds, value.nanos
    if seconds * nanos < 0 or abs(nanos) > 999_999_999:
        return Unreadable(f"is no valid Duration: {seconds} seconds and {nanos} nanos")
    return seconds * SECOND_US + (nanos // 1000 if nanos < 0 else -(-nanos // 1000))


def _most(field: str, given: Sized, most: int, what: str) -> None:
    """Refuse a list or a map that is too long before its elements are looked at. Raises InvalidField."""
    fields = Fields()
    fields.most(field, len(given), most, what)
    fields.check()


def page(request: Any) -> PageRequest:
    return PageRequest(request.page_size, request.page_token)


def lease(request: Any) -> LeaseKey | None:
    return LeaseKey(request.lease.run_id, request.lease.epoch) if request.HasField("lease") else None


def new_run(request: run_pb.CreateRunRequest) -> NewRun:
    return NewRun(
        thread_id=request.thread_id,
        assistant_id=request.assistant_id,
        input=json_object(request, "input"),
        metadata=json_object(request, "metadata"),
        strategy=enum(request.multitask_strategy, STRATEGY),
        request_id=request.request_id if request.HasField("request_id") else None,
        create_thread=_creates_thread(request.if_thread_not_exists),
        delay_us=duration(request, "delay"),
        timeout_us=duration(request, "timeout"),
        queue_policy=enum(request.queue_policy, QUEUE_POLICY),
        debounce_us=duration(request, "debounce"),
        max_wait_us=duration(request, "max_wait"),
        start_within_us=duration(request, "start_within"),
        expected_run_id=given(request, "expected_run_id"),
    )


def edit(request: run_pb.UpdateRunRequest) -> Edit:
    return Edit(
        given_object(request, "input"),
        given_object(request, "metadata"),
        duration(request, "delay"),
        duration(request, "timeout"),
    )


def place(request: run_pb.MoveRunRequest) -> tuple[Place | None, str | None]:
    """Where the run is to go, and the run that this is told by. `first: false` says nothing."""
    kind = request.WhichOneof("place")
    if kind is None or getattr(request, kind) is False:
        return None, None
    if kind in ("first", "last"):
        return Place[kind.upper()], None
    return Place[kind.removesuffix("_run_id").upper()], getattr(request, kind)


def _creates_thread(number: int) -> Given[bool]:
    word = enum(number, IF_THREAD_NOT_EXISTS)
    return word if isinstance(word, Unreadable) else word is IfThreadNotExists.CREATE


def new_assistant(request: assistant_pb.CreateAssistantRequest) -> NewAssistant:
    _most("reducers", request.reducers, MOST_REDUCERS, "keys")
    return NewAssistant(
        graph=request.graph,
        assistant_id=given(request, "assistant_id"),
        metadata=json_object(request, "metadata"),
        config=json_object(request, "config"),
        reducers={key: enum(number, REDUCER) for key, number in request.reducers.items()},
        max_attempts=given(request, "max_attempts"),
        stop_grace_us=duration(request, "stop_grace"),
        run_timeout_us=duration(request, "run_timeout"),
    )


def outputs(request: worker_pb.PublishOutputRequest) -> list[NewOutput]:
    _most("outputs", request.outputs, MOST_OUTPUTS, "outputs")
    return [
        NewOutput(output.channel, _output(output, f"outputs[{index}]")) for index, output in enumerate(request.outputs)
    ]


def _output(output: Any, place: str) -> JsonObject:
    """Return what an output shows: an object as `data`, or any value as `value`."""
    if not output.value_json and not output.HasField("value"):
        return json_object(output, "data", f"{place}.data")
    if output.data_json or output.HasField("data") or (output.value_json and output.HasField("value")):
        return JsonObject("{}", 0, f"{place} has several of data, data_json, value and value_json; give one of them")
    if output.value_json:
        found = of_text(f'{{"":{output.value_json}}}', f"{place}.value_json")
    else:
        found = _of_struct(Struct(fields={"": output.value}), f"{place}.value")
    if not found.fault and found.keys > 1:
        return JsonObject("{}", 0, f"{place}.value_json is no JSON")
    return found if found.fault else JsonObject(found.text[len('{"":') : -1], found.keys)


def outcome(request: worker_pb.FinishRunRequest) -> Success | Failure | None:
    kind = request.WhichOneof("outcome")
    if kind == "error":
        return Failure(request.error.type, request.error.message)
    return Success(given_object(request.success, "update", "success.update")) if kind == "success" else None
