"""Ids of what is not there, or is there already, are named with their resource; so is a request id used twice."""

from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from tests.support.request_fields import OPTIONAL_IDS, fields
from tests.support.requests import HOUR, Scene, changed, struct
from tests.support.rpcs import METHODS

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
    "input_json": '{"a":2}',
    "metadata": struct({"m": 2}),
    "metadata_json": '{"m":2}',
    "multitask_strategy": pb.MULTITASK_STRATEGY_INTERRUPT,
    "if_thread_not_exists": pb.IF_THREAD_NOT_EXISTS_CREATE,
    "delay": Duration(seconds=HOUR + 1),
    "timeout": Duration(seconds=HOUR + 1),
    "queue_policy": pb.QUEUE_POLICY_SUPERSEDE,
    "start_within": Duration(seconds=HOUR),
    "expected_run_id": "another",
}
WITH_DEBOUNCE: Final = {"debounce", "max_wait"}
"""Fields of which one needs others: tried below."""


def test_each_field_of_create_run_is_content() -> None:
    named = set(METHODS["CreateRun"].input_type.fields_by_name)
    assert named == set(OTHER_CONTENT) | WITH_DEBOUNCE | {"thread_id", "request_id"}


async def test_how_long_a_run_waits_for_messages_is_content(scene: Scene) -> None:
    def call(debounce: int, max_wait: int) -> rpb.CreateRunRequest:
        words = {"queue_policy": pb.QUEUE_POLICY_MERGE, "debounce": Duration(seconds=debounce)}
        request = rpb.CreateRunRequest(thread_id="t", assistant_id="echo", request_id="once", **words)  # type: ignore[arg-type]
        if max_wait:
            request.max_wait.seconds = max_wait
        return request

    first = (await scene.service.runs.CreateRun(call(HOUR, HOUR))).run
    for other in (call(HOUR + 1, HOUR), call(HOUR, HOUR + 1), call(HOUR, 0)):
        error = await scene.refused("CreateRun", other)
        assert error.reason == "REQUEST_ID_REUSED"
    assert (await scene.service.runs.CreateRun(call(HOUR, HOUR))).run == first


@pytest.mark.parametrize("field", OTHER_CONTENT)
async def test_a_request_id_names_one_call_only(scene: Scene, field: str) -> None:
    first = (await scene.service.runs.CreateRun(first_call())).run
    again: Any = first_call()
    value = OTHER_CONTENT[field]
    if field.endswith("_json"):
        again.ClearField(field.removesuffix("_json"))
    if isinstance(value, Message):
        getattr(again, field).CopyFrom(value)
    else:
        setattr(again, field, value)
    async with scene.unmoved():
        error = await scene.refused("CreateRun", again)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
        assert error.metadata == {"request_id": "once", "thread_id": "t", "run_id": first.run_id}
        assert (await scene.service.runs.CreateRun(first_call())).run == first
