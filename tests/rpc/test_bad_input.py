"""What a client gets wrong: each mistake is named with its field, nothing is written, and the server goes on.

The fields are taken from the protos' descriptors, so that a new one is tested as soon as it is there.
"""

import base64
import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from server import wire
from server.interceptors import LARGEST_REQUEST
from tests.rpc.test_errors import NOT_SERVED, OURS, Refused, call, refused
from tests.service import Service, said

METHODS: Final = {method.name: method for method in OURS if method not in NOT_SERVED}
HOUR, LONGEST = 3600, 366 * 24 * 3600
MIB: Final = 1024 * 1024


def struct(values: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(values)
    return made


# One good request of each method. The thread `t` and its finished run are there; `new` is not.
GOOD: Final[dict[str, Message]] = {
    "CreateAssistant": apb.CreateAssistantRequest(assistant_id="new", graph="echo"),
    "GetAssistant": apb.GetAssistantRequest(assistant_id="echo"),
    "ListAssistants": apb.ListAssistantsRequest(),
    "DeleteAssistant": apb.DeleteAssistantRequest(assistant_id="echo"),
    "CreateThread": tpb.CreateThreadRequest(thread_id="new"),
    "GetThread": tpb.GetThreadRequest(thread_id="t"),
    "ListThreads": tpb.ListThreadsRequest(),
    "UpdateThread": tpb.UpdateThreadRequest(thread_id="t", metadata=struct({"a": 1})),
    "DeleteThread": tpb.DeleteThreadRequest(thread_id="t"),
    "GetState": tpb.GetStateRequest(thread_id="t"),
    "ListStates": tpb.ListStatesRequest(thread_id="t"),
    "UpdateState": tpb.UpdateStateRequest(thread_id="t", values=struct({"a": 1})),
    "CreateRun": rpb.CreateRunRequest(thread_id="t", assistant_id="echo"),
    "GetRun": rpb.GetRunRequest(),
    "ListRuns": rpb.ListRunsRequest(thread_id="t"),
    "JoinRun": rpb.JoinRunRequest(),
    "CancelRun": rpb.CancelRunRequest(),
    "DeleteRun": rpb.DeleteRunRequest(),
}


@dataclass
class Scene:
    """A server with the thread `t`, which has one finished run and its two steps, and the empty thread `other`."""

    service: Service
    run_id: str

    def good(self, method: str) -> Any:
        request: Any = type(GOOD[method])()
        request.CopyFrom(GOOD[method])
        if "run_id" in request.DESCRIPTOR.fields_by_name:
            request.run_id = self.run_id
        return request

    async def refused(self, method: str, request: Message) -> Refused:
        return await refused(call(self.service.channel, METHODS[method], request))

    async def invalid(self, method: str, request: Message) -> dict[str, str]:
        """Call; what is wrong, by field."""
        error = await self.refused(method, request)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert set(error.rest) == {"BadRequest"}
        return error.metadata

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the database holds."""
        with closing(sqlite3.connect(f"file:{self.service.app.store.path}?mode=ro", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}

    @asynccontextmanager
    async def unmoved(self) -> AsyncIterator[None]:
        """What happens inside writes nothing, and the server answers a good call afterwards."""
        before = self.dump()
        assert before["runs"]
        yield
        assert self.dump() == before
        assert (await self.service.client.threads.get("t"))["thread_id"] == "t"


@pytest.fixture
async def scene(service: Service) -> Scene:
    await service.client.threads.create("t")
    await service.client.threads.create("other")
    run = await service.client.runs.create("t", "echo", input=said("hello"))
    assert (await service.client.runs.join("t", run["run_id"]))["run"]["status"] == "success"
    return Scene(service, run["run_id"])


@pytest.mark.parametrize("method", METHODS)
async def test_the_good_requests_are_good(scene: Scene, method: str) -> None:
    """Else the tests below would show nothing."""
    await call(scene.service.channel, METHODS[method], scene.good(method))


# One bad field


def fields(holds: Callable[[FieldDescriptor], bool]) -> list[Any]:
    """Each field of each request of which `holds`, as parameters `method, field`."""
    return [
        pytest.param(method.name, field, id=f"{method.name}-{field.name}")
        for method in METHODS.values()
        for field in method.input_type.fields
        if holds(field)
    ]


def is_message(name: str) -> Callable[[FieldDescriptor], bool]:
    return lambda field: field.message_type is not None and field.message_type.full_name == name


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_id(field: FieldDescriptor) -> bool:
    return field.name.endswith("_id") or field.name == "graph"


def is_number(field: FieldDescriptor) -> bool:
    return field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


def is_enum(field: FieldDescriptor) -> bool:
    value = field.message_type.fields_by_name["value"] if is_map(field) and field.message_type else field
    return value.enum_type is not None


def is_covered_elsewhere(field: FieldDescriptor) -> bool:
    return field.name == "page_token" or field.cpp_type == FieldDescriptor.CPPTYPE_BOOL


is_struct, is_duration = is_message("google.protobuf.Struct"), is_message("google.protobuf.Duration")
KINDS: Final = (is_id, is_number, is_enum, is_struct, is_duration, is_covered_elsewhere)


def test_every_field_of_every_request_is_of_one_kind_that_is_tested_here() -> None:
    for method, field in (parameters.values for parameters in fields(lambda field: True)):
        assert sum(bool(kind(field)) for kind in KINDS) == 1, f"{method}.{field.name}"


OPTIONAL_IDS: Final = {(method, "thread_id") for method in ("GetRun", "JoinRun", "CancelRun", "DeleteRun")}
MALFORMED: Final = ("a b", " ", "é", "a/b", "a\n", "a\x00", "x" * 129, "x" * MIB, "%s{thread_id}")


@pytest.mark.parametrize(("method", "field"), fields(is_id))
async def test_an_id_that_is_none_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    async with scene.unmoved():
        for bad in MALFORMED:
            request = scene.good(method)
            setattr(request, field.name, bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {field.name}
            assert "1 to 128 characters of A-Z a-z 0-9 . _ -" in wrong[field.name]
            assert len(wrong[field.name]) < 200
        if (method, field.name) not in OPTIONAL_IDS:
            request = scene.good(method)
            setattr(request, field.name, "")
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {field.name}
            assert wrong[field.name].startswith("is required")


@pytest.mark.parametrize(("method", "field"), fields(is_enum))
async def test_an_enums_number_that_means_nothing_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    async with scene.unmoved():
        for bad in (99, -1, 2**31 - 1):
            request, named = scene.good(method), field.name
            if is_map(field):
                getattr(request, field.name)["key"] = bad
                named = f"{field.name}['key']"
            elif field.is_repeated:
                getattr(request, field.name).extend([1, bad])
                named = f"{field.name}[1]"
            else:
                setattr(request, field.name, bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {named}
            assert str(bad) in wrong[named]


@pytest.mark.parametrize(
    ("method", "field"), [each for each in fields(is_enum) if each.values[1].is_repeated and not is_map(each.values[1])]
)
async def test_a_filter_for_unspecified_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    request = scene.good(method)
    getattr(request, field.name).append(0)
    assert "UNSPECIFIED" in (await scene.invalid(method, request))[f"{field.name}[0]"]


def bad_structs() -> Iterator[tuple[Struct, str]]:
    """Structs that are no JSON objects, or too deep, each with what must be said about it."""
    for number in (math.nan, math.inf, -math.inf):
        yield struct({"a": [{"b": number}]}), ".a[0].b is not a finite number"
    kindless = Struct()
    kindless.fields["a"].SetInParent()
    yield kindless, ".a has no value set"
    kindless_item = Struct()
    kindless_item.fields["a"].list_value.values.add()
    yield kindless_item, ".a[0] has no value set"
    yield objects(31), "is nested deeper than 30 levels"
    yield lists(31), "is nested deeper than 30 levels"


def objects(depth: int, made: Struct | None = None) -> Struct:
    """Objects in one another, so many in all."""
    made = Struct() if made is None else made
    innermost = made
    for _ in range(depth - 1):
        innermost = innermost.fields["a"].struct_value
    innermost.SetInParent()
    return made


def lists(depth: int, made: Struct | None = None) -> Struct:
    """An object, and lists in one another in it, so many in all."""
    made = Struct() if made is None else made
    innermost = made.fields["a"]
    for _ in range(depth - 2):
        innermost = innermost.list_value.values.add()
    innermost.list_value.SetInParent()
    return made


@pytest.mark.parametrize(("method", "field"), fields(is_struct))
async def test_what_is_no_json_object_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    async with scene.unmoved():
        for bad, said_of_it in bad_structs():
            request = scene.good(method)
            getattr(request, field.name).CopyFrom(bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {field.name}
            assert said_of_it in wrong[field.name]


def bad_durations(field: str) -> Iterator[Duration]:
    yield from (Duration(seconds=-1), Duration(nanos=-1_000), Duration(seconds=-(2**62)))
    yield from (Duration(seconds=1, nanos=-1), Duration(seconds=-1, nanos=1))
    yield from (Duration(nanos=1_000_000_000), Duration(nanos=-1_000_000_000))
    limit = HOUR if field == "stop_grace" else LONGEST
    yield from (Duration(seconds=limit, nanos=1), Duration(seconds=limit + 1), Duration(seconds=2**62))
    if field in ("timeout", "run_timeout"):
        yield Duration()


@pytest.mark.parametrize(("method", "field"), fields(is_duration))
async def test_a_duration_that_is_none_or_out_of_range_is_refused(
    scene: Scene, method: str, field: FieldDescriptor
) -> None:
    async with scene.unmoved():
        for bad in bad_durations(field.name):
            request = scene.good(method)
            getattr(request, field.name).CopyFrom(bad)
            assert set(await scene.invalid(method, request)) == {field.name}, bad


# The numbers just outside the range of each field; page_size differs between listings.
OUTSIDE: Final = {"max_queued_runs": (-1, 1_000_001), "max_attempts": (0, 101), "step": (-1,)}
PAGE_SIZES: Final = {"ListAssistants": 1000, "ListThreads": 1000, "ListRuns": 1000, "ListStates": 100}


@pytest.mark.parametrize(("method", "field"), fields(is_number))
async def test_a_number_out_of_range_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    least = -(2**63) if field.cpp_type == FieldDescriptor.CPPTYPE_INT64 else -(2**31)
    outside = OUTSIDE.get(field.name) or (-1, PAGE_SIZES[method] + 1)
    async with scene.unmoved():
        for bad in (*outside, least):
            request = scene.good(method)
            setattr(request, field.name, bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {field.name}
            assert str(bad) in wrong[field.name]


async def test_what_is_just_within_the_limits_is_accepted(scene: Scene) -> None:
    assistants, threads, runs = scene.service.assistants, scene.service.threads, scene.service.runs
    request = apb.CreateAssistantRequest(
        assistant_id="x" * 128, graph="g" * 128, metadata=objects(30), config=lists(30), max_attempts=100
    )
    request.stop_grace.seconds, request.run_timeout.seconds, request.reducers["a"] = HOUR, LONGEST, pb.REDUCER_APPEND
    await assistants.CreateAssistant(request)
    longest = "t" * 128
    thread = tpb.CreateThreadRequest(thread_id=longest, metadata=objects(30), max_queued_runs=1_000_000)
    await threads.CreateThread(thread)
    await threads.UpdateState(tpb.UpdateStateRequest(thread_id=longest, values=objects(30)))
    assert (await threads.GetState(tpb.GetStateRequest(thread_id=longest))).state.values == objects(30)
    run = rpb.CreateRunRequest(thread_id=longest, assistant_id="x" * 128, input=lists(30), request_id="r" * 128)
    run.delay.seconds, run.timeout.seconds = LONGEST, LONGEST
    created = (await runs.CreateRun(run)).run
    assert (await runs.GetRun(rpb.GetRunRequest(run_id=created.run_id))).run.input == lists(30)
    assert len((await runs.ListRuns(rpb.ListRunsRequest(thread_id=longest, page_size=1000))).runs) == 1


# Several at once


def all_wrong_run() -> rpb.CreateRunRequest:
    request = rpb.CreateRunRequest(
        thread_id="a b", input=struct({"n": math.nan}), metadata=struct({"n": math.inf}), request_id=""
    )
    request.delay.seconds = request.timeout.seconds = -1
    numbers: Any = request  # proto3's enums are open: any number fits
    numbers.multitask_strategy = numbers.if_thread_not_exists = 99
    return request


def all_wrong_assistant() -> apb.CreateAssistantRequest:
    request = apb.CreateAssistantRequest(
        assistant_id="", metadata=struct({"n": math.nan}), config=objects(31), max_attempts=-1
    )
    request.stop_grace.seconds = request.run_timeout.seconds = -1
    reducers: Any = request.reducers
    reducers["a"] = reducers["b"] = 99
    return request


SEVERAL: Final[dict[str, tuple[Message, set[str]]]] = {
    "CreateRun": (
        all_wrong_run(),
        {"thread_id", "assistant_id", "input", "metadata", "request_id", "delay", "timeout", "multitask_strategy"}
        | {"if_thread_not_exists"},
    ),
    "CreateAssistant": (
        all_wrong_assistant(),
        {"assistant_id", "graph", "metadata", "config", "max_attempts", "stop_grace", "run_timeout"}
        | {"reducers['a']", "reducers['b']"},
    ),
    "CreateThread": (
        tpb.CreateThreadRequest(thread_id="", metadata=struct({"n": math.nan}), max_queued_runs=-1),
        {"thread_id", "metadata", "max_queued_runs"},
    ),
    "UpdateState": (tpb.UpdateStateRequest(assistant_id=""), {"thread_id", "assistant_id", "values"}),
    "GetState": (tpb.GetStateRequest(step=-1), {"thread_id", "step"}),
    "ListRuns": (
        rpb.ListRunsRequest(statuses=[pb.RUN_STATUS_UNSPECIFIED] * 2, page_size=-1, page_token="garbage"),
        {"thread_id", "statuses[0]", "statuses[1]", "page_size"},
    ),
    "JoinRun": (rpb.JoinRunRequest(thread_id="a b", wait=Duration(seconds=-1)), {"run_id", "thread_id", "wait"}),
    "CancelRun": (rpb.CancelRunRequest(thread_id="a b", wait=Duration(seconds=-1)), {"run_id", "thread_id", "wait"}),
}


@pytest.mark.parametrize("method", SEVERAL)
async def test_all_that_is_wrong_with_a_request_is_said_at_once(scene: Scene, method: str) -> None:
    request, wrong = SEVERAL[method]
    async with scene.unmoved():
        assert set(await scene.invalid(method, request)) == wrong


BULKY: Final[dict[str, tuple[str, Callable[[Any], object]]]] = {
    "fifty unknown statuses": ("ListRuns", lambda request: request.statuses.extend([99] * 50)),
    "a long key": ("UpdateState", lambda request: request.values.update({"k" * 20_000: math.nan})),
    "a long reducer": ("CreateAssistant", lambda request: request.reducers.update({"k" * 20_000: 99})),
}


@pytest.mark.parametrize("bulk", BULKY)
async def test_a_request_with_very_much_wrong_is_still_told_what(scene: Scene, bulk: str) -> None:
    method, spoil = BULKY[bulk]
    request = scene.good(method)
    spoil(request)
    error = await scene.refused(method, request)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert len(error.raw.SerializeToString()) < 8000


# Requests that are no messages, or too large


UNREADABLE: Final = {"no tag": b"\xff\xff\xff", "cut short": b"\x0a\x7f", "no UTF-8": b"\x0a\x02\xff\xfe"}
# Its first field is no text, so that the last of these says nothing to it.
READS_MORE: Final = ("ListAssistants", "no UTF-8")


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_do_not_parse_are_refused(scene: Scene, method: str) -> None:
    path = f"/{METHODS[method].containing_service.full_name}/{method}"
    raw: Any = scene.service.channel.unary_unary(path)
    async with scene.unmoved():
        for what, data in UNREADABLE.items():
            if (method, what) != READS_MORE:
                error = await refused(raw(data))
                assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
                assert path in error.message


async def test_nesting_that_protobuf_itself_does_not_read_is_refused(scene: Scene) -> None:
    async with scene.unmoved():
        for nest in (objects, lists):
            request = tpb.UpdateStateRequest(thread_id="t")
            nest(90, request.values)
            error = await scene.refused("UpdateState", request)
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
            assert "is not the message that" in error.message


@pytest.mark.parametrize(("method", "field"), fields(is_struct))
async def test_five_megabytes_are_too_large(scene: Scene, method: str, field: FieldDescriptor) -> None:
    request = scene.good(method)
    getattr(request, field.name).update({"text": "x" * 5 * MIB})
    async with scene.unmoved():
        error = await scene.refused(method, request)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert error.metadata == {"what": "the request", "size": str(request.ByteSize()), "limit": str(LARGEST_REQUEST)}
    (violation,) = error.rest["QuotaFailure"].violations
    assert (violation.subject, violation.description) == ("the request", error.message)


@pytest.mark.parametrize(("method", "field"), [("UpdateState", "values"), ("CreateRun", "input")])
async def test_the_largest_request_is_taken_and_its_answer_fits_a_plain_channel(
    scene: Scene, method: str, field: str
) -> None:
    request = scene.good(method)
    getattr(request, field).update({"text": ""})
    text = "x" * (LARGEST_REQUEST - request.ByteSize() - 16)
    getattr(request, field).update({"text": text})
    assert LARGEST_REQUEST - 16 <= request.ByteSize() <= LARGEST_REQUEST
    answer = await call(scene.service.channel, METHODS[method], request)
    assert text in str(answer)


# Page tokens


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


GARBAGE: Final = {
    "a word": "garbage",
    "no ASCII": "ä",
    "padding": "====",
    "no JSON": encoded("no json"),
    "null": encoded("null"),
    "an empty list": encoded("[]"),
    "an object": encoded('{"a": 1, "b": 2}'),
    "another digest": encoded('["0000000000000000", [1]]'),
    "deep": encoded("[" * 100_000),
    "a long number": encoded("9" * 10_000),
    "huge": "A" * 3 * MIB,
}
LISTINGS: Final = ("ListAssistants", "ListThreads", "ListRuns", "ListStates")


@pytest.mark.parametrize("method", LISTINGS)
async def test_a_page_token_that_is_none_is_refused(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        for token in GARBAGE.values():
            request = scene.good(method)
            request.page_token = token
            error = await scene.refused(method, request)
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


def changed(request: Any, **changes: Any) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


CHANGES: Final[dict[str, dict[str, Any]]] = {
    "ListThreads": {"statuses": [pb.THREAD_STATUS_IDLE]},
    "ListRuns": {"thread_id": "other", "statuses": [pb.RUN_STATUS_SUCCESS], "oldest_first": True},
    "ListStates": {"thread_id": "other"},
}


@pytest.mark.parametrize(
    ("method", "field"), [(method, field) for method, changes in CHANGES.items() for field in changes]
)
async def test_a_page_token_of_another_request_is_refused(scene: Scene, method: str, field: str) -> None:
    for thread_id in ("t", "other"):
        run = await scene.service.say(thread_id, "more")
        await scene.service.client.runs.join(thread_id, run["run_id"])
    request = changed(scene.good(method), page_size=1)
    first: Any = await call(scene.service.channel, METHODS[method], request)
    assert first.next_page_token
    async with scene.unmoved():
        other = changed(request, page_token=first.next_page_token, **{field: CHANGES[method][field]})
        error = await scene.refused(method, other)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
        assert set(error.metadata) == set()
    following: Any = await call(
        scene.service.channel, METHODS[method], changed(request, page_token=first.next_page_token)
    )
    assert following != first


@pytest.mark.parametrize("method", LISTINGS)
async def test_a_page_token_of_another_listing_is_refused(scene: Scene, method: str) -> None:
    await scene.service.say("t", "more")
    listings: dict[str, Any] = {name: changed(scene.good(name), page_size=1) for name in LISTINGS}
    for name, request in listings.items():
        page: Any = await call(scene.service.channel, METHODS[name], request)
        assert page.next_page_token, name
        if name != method:
            error = await scene.refused(method, changed(listings[method], page_token=page.next_page_token))
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


FORGED: Final = {
    "ListAssistants": wire.token([5], "assistants"),
    "ListThreads": wire.token([5], "threads", []),
    "ListRuns": wire.token([5, "a"], "runs", "t", [], False),
    "ListThreads-surrogate": wire.token([5, "\ud800"], "threads", []),
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_page_token_made_by_hand_is_refused(scene: Scene, forged: str) -> None:
    method = forged.partition("-")[0]
    error = await scene.refused(method, changed(scene.good(method), page_token=FORGED[forged]))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


# What is not there


RESOURCES: Final = {
    "thread_id": ("THREAD_NOT_FOUND", "doubletext.v1.Thread"),
    "run_id": ("RUN_NOT_FOUND", "doubletext.v1.Run"),
    "assistant_id": ("ASSISTANT_NOT_FOUND", "doubletext.v1.Assistant"),
}
MAKES: Final = {("CreateThread", "thread_id"), ("CreateAssistant", "assistant_id")}


@pytest.mark.parametrize(
    ("method", "field"),
    [
        each
        for each in fields(lambda field: field.name in RESOURCES)
        if (each.values[0], each.values[1].name) not in MAKES | OPTIONAL_IDS
    ],
)
async def test_what_is_not_there_is_named(scene: Scene, method: str, field: FieldDescriptor) -> None:
    request = changed(scene.good(method), **{field.name: "nowhere"})
    reason, kind = RESOURCES[field.name]
    async with scene.unmoved():
        error = await scene.refused(method, request)
    assert (error.code, error.reason) == ("NOT_FOUND", reason)
    assert error.metadata == {field.name: "nowhere"}
    assert error.resource == (kind, "nowhere")


@pytest.mark.parametrize("method", [method for method, _ in sorted(OPTIONAL_IDS)])
async def test_a_run_of_another_thread_is_not_found(scene: Scene, method: str) -> None:
    running = await scene.service.started("other", "going on")
    for run_id, wrong_thread in ((scene.run_id, "other"), (running["run_id"], "t"), (scene.run_id, "nowhere")):
        async with scene.unmoved():
            error = await scene.refused(method, changed(scene.good(method), run_id=run_id, thread_id=wrong_thread))
        assert (error.code, error.reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
        assert error.metadata == {"run_id": run_id, "thread_id": wrong_thread}
        assert error.resource == ("doubletext.v1.Run", run_id)


async def test_a_step_that_is_not_there_is_named_with_the_last_one(scene: Scene) -> None:
    for step in (3, 2**63 - 1):
        async with scene.unmoved():
            error = await scene.refused("GetState", tpb.GetStateRequest(thread_id="t", step=step))
        assert (error.code, error.reason) == ("NOT_FOUND", "STEP_NOT_FOUND")
        assert error.metadata == {"thread_id": "t", "step": str(step), "last_step": "2"}
        assert error.resource == ("doubletext.v1.State", str(step))


# What is there already


TAKEN: Final = {
    "CreateThread": ("thread_id", "t", "THREAD_EXISTS", "doubletext.v1.Thread"),
    "CreateAssistant": ("assistant_id", "agent", "ASSISTANT_EXISTS", "doubletext.v1.Assistant"),
}


@pytest.mark.parametrize("method", TAKEN)
async def test_an_id_that_is_taken_is_named(scene: Scene, method: str) -> None:
    field, taken, reason, kind = TAKEN[method]
    async with scene.unmoved():
        error = await scene.refused(method, changed(scene.good(method), **{field: taken}))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", reason)
    assert error.metadata == {field: taken}
    assert error.resource == (kind, taken)


def first_call() -> rpb.CreateRunRequest:
    request = rpb.CreateRunRequest(
        thread_id="t",
        assistant_id="echo",
        input=struct({"a": 1}),
        metadata=struct({"m": 1}),
        request_id="once",
        multitask_strategy=pb.MULTITASK_STRATEGY_ENQUEUE,
    )
    request.delay.seconds = request.timeout.seconds = HOUR
    return request


OTHER_CONTENT: Final[dict[str, Any]] = {
    "assistant_id": "agent",
    "input": struct({"a": 2}),
    "metadata": struct({"m": 2}),
    "multitask_strategy": pb.MULTITASK_STRATEGY_INTERRUPT,
    "if_thread_not_exists": pb.IF_THREAD_NOT_EXISTS_CREATE,
    "delay": Duration(seconds=HOUR + 1),
    "timeout": Duration(seconds=HOUR + 1),
}


def test_each_field_of_create_run_is_content() -> None:
    named = set(METHODS["CreateRun"].input_type.fields_by_name)
    assert named == set(OTHER_CONTENT) | {"thread_id", "request_id"}


@pytest.mark.parametrize("field", OTHER_CONTENT)
async def test_a_request_id_names_one_call_only(scene: Scene, field: str) -> None:
    first = (await scene.service.runs.CreateRun(first_call())).run
    again = first_call()
    value = OTHER_CONTENT[field]
    if isinstance(value, Message):
        getattr(again, field).CopyFrom(value)
    else:
        setattr(again, field, value)
    async with scene.unmoved():
        error = await scene.refused("CreateRun", again)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
        assert error.metadata == {"request_id": "once", "thread_id": "t", "run_id": first.run_id}
        assert (await scene.service.runs.CreateRun(first_call())).run == first
