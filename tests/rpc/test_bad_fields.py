"""A wrong field is named, whatever its kind, and so are several at once; nothing is written, and the server goes on."""

import math
from collections.abc import Iterator
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
from doubletext.v1 import worker_service_pb2 as wpb
from tests.support.request_fields import (
    KINDS,
    OPTIONAL_IDS,
    fields,
    is_duration,
    is_enum,
    is_id,
    is_json_text,
    is_map,
    is_number,
    is_struct,
)
from tests.support.requests import HOUR, LONGEST, MIB, Scene, lists, objects, struct
from tests.support.rpcs import METHODS, call


@pytest.mark.parametrize("method", METHODS)
async def test_the_good_requests_are_good(scene: Scene, method: str) -> None:
    """Else the tests of what is bad would show nothing."""
    answer = call(scene.service.channel, METHODS[method], scene.good(method))
    if not METHODS[method].server_streaming:
        await answer
        return
    if method == "WatchLease":  # has nothing to say before
        await scene.service.client.runs.cancel("remote", scene.lease.run_id)
    assert await answer.read()
    answer.cancel()


# One bad field


def test_every_field_of_every_request_is_of_one_kind_that_is_tested_here() -> None:
    for method, field in (parameters.values for parameters in fields(lambda field: True)):
        assert sum(bool(kind(field)) for kind in KINDS) == 1, f"{method}.{field.name}"


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


@pytest.mark.parametrize(("method", "field"), fields(is_struct))
async def test_what_is_no_json_object_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    async with scene.unmoved():
        for bad, said_of_it in bad_structs():
            request = scene.good(method)
            getattr(request, field.name).CopyFrom(bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {field.name}
            assert said_of_it in wrong[field.name]


BAD_TEXTS: Final = {
    "[]": "is a list; it must be an object",
    "7": "is neither an object nor a list",
    "null": "is null",
    "{": "is no JSON",
    "{} {}": "is no JSON",
    '{"a":Infinity}': "has Infinity, which is no number of JSON",
    '{"a":{"b":1,"b":2}}': "has an object with the key 'b' twice",
    '{"a":' * 31 + "1" + "}" * 31: "is nested deeper than 30 levels",
    '{"a":' * 50_000: "is nested deeper than 30 levels",
    '{"a":1' + "0" * 4300 + "}": "has a number of 4301 characters; it may have 4300",
    '{"a":[' + "1," * 250_000 + "1]}": "has more than 250000 values",
}


@pytest.mark.parametrize(("method", "field"), fields(is_json_text))
async def test_a_text_that_is_no_json_object_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    struct = field.name.removesuffix("_json")
    async with scene.unmoved():
        for bad, said_of_it in BAD_TEXTS.items():
            request = scene.good(method)
            request.ClearField(struct)
            setattr(request, field.name, bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {struct}
            assert wrong[struct].startswith(f"{field.name} ")
            assert said_of_it in wrong[struct]


@pytest.mark.parametrize(("method", "field"), fields(is_json_text))
async def test_an_object_that_is_given_twice_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    struct = field.name.removesuffix("_json")
    request = scene.good(method)
    getattr(request, struct).SetInParent()
    setattr(request, field.name, "{}")
    wrong = await scene.invalid(method, request)
    assert wrong[struct] == f"{struct} and {field.name} are both given; give one of them"


def bad_durations(field: str) -> Iterator[Duration]:
    yield from (Duration(seconds=-1), Duration(nanos=-1), Duration(nanos=-1_000), Duration(seconds=-(2**62)))
    yield from (Duration(seconds=1, nanos=-1), Duration(seconds=-1, nanos=1))
    yield from (Duration(nanos=1_000_000_000), Duration(nanos=-1_000_000_000))
    limit = HOUR if field in ("stop_grace", "wait") else LONGEST
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
OUTSIDE: Final = {
    **{"max_queued_runs": (-1, 10_001), "max_attempts": (0, 101), "step": (-1,)},
    **{"after_sequence": (-1,), "expected_step": (0, -1), "expected_revision": (-1,)},
}
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
    "CancelRuns": (rpb.CancelRunsRequest(statuses=[pb.RUN_STATUS_SUCCESS]), {"thread_id", "statuses[0]"}),
    "UpdateRun": (
        rpb.UpdateRunRequest(thread_id="a b", delay=Duration(seconds=-1), timeout=Duration(), expected_revision=-1),
        {"run_id", "thread_id", "delay", "timeout", "expected_revision"},
    ),
    "MoveRun": (rpb.MoveRunRequest(expected_revision=-1), {"run_id", "place", "expected_revision"}),
    "WatchThread": (tpb.WatchThreadRequest(after_sequence=-1), {"thread_id", "after_sequence"}),
    "WatchRun": (rpb.WatchRunRequest(thread_id="a b", after_sequence=-1), {"run_id", "thread_id", "after_sequence"}),
    "ClaimRun": (
        wpb.ClaimRunRequest(graphs=["g", "a b", ""], wait=Duration(seconds=-1)),
        {"worker_id", "graphs[1]", "graphs[2]", "wait"},
    ),
    "CommitStep": (
        wpb.CommitStepRequest(expected_step=0, absorb=["a", "b c"]),
        {"lease", "expected_step", "absorb[1]"},
    ),
    "PublishOutput": (
        wpb.PublishOutputRequest(outputs=[pb.Output(data=struct({"n": math.nan}))] * 2),
        {"lease", "outputs[0].data", "outputs[1].data"},
    ),
    "FinishRun": (wpb.FinishRunRequest(lease=wpb.Lease()), {"lease.run_id", "lease.epoch", "outcome"}),
}


@pytest.mark.parametrize("method", SEVERAL)
async def test_all_that_is_wrong_with_a_request_is_said_at_once(scene: Scene, method: str) -> None:
    request, wrong = SEVERAL[method]
    async with scene.unmoved():
        assert set(await scene.invalid(method, request)) == wrong
