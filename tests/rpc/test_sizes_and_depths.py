"""Requests at the limits are taken; those that are too large, nested too deep, or no messages at all are refused."""

import base64
import math
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import pytest
from google.protobuf.descriptor import FieldDescriptor

from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext_server.grpc.edge import LARGEST_REQUEST
from doubletext_server.grpc.services import threads as thread_calls
from doubletext_server.grpc.services import workers as worker_calls
from tests.support.request_fields import fields, is_struct
from tests.support.requests import HOUR, LONGEST, MIB, Scene, lists, objects, workers
from tests.support.rpcs import METHODS, call, refused
from tests.support.server import Service


async def test_what_is_just_within_the_limits_is_accepted(scene: Scene) -> None:
    assistants, threads, runs = scene.service.assistants, scene.service.threads, scene.service.runs
    request = apb.CreateAssistantRequest(
        assistant_id="x" * 128, graph="g" * 128, metadata=objects(30), config=lists(30), max_attempts=100
    )
    request.stop_grace.seconds, request.run_timeout.seconds, request.reducers["a"] = HOUR, LONGEST, pb.REDUCER_APPEND
    await assistants.CreateAssistant(request)
    longest = "t" * 128
    thread = tpb.CreateThreadRequest(thread_id=longest, metadata=objects(30), max_queued_runs=10_000)
    await threads.CreateThread(thread)
    await threads.UpdateState(tpb.UpdateStateRequest(thread_id=longest, values=objects(30)))
    assert (await threads.GetState(tpb.GetStateRequest(thread_id=longest))).state.values == objects(30)
    run = rpb.CreateRunRequest(thread_id=longest, assistant_id="x" * 128, input=lists(30), request_id="r" * 128)
    run.delay.seconds, run.timeout.seconds = LONGEST, LONGEST
    created = (await runs.CreateRun(run)).run
    assert (await runs.GetRun(rpb.GetRunRequest(run_id=created.run_id))).run.input == lists(30)
    assert len((await runs.ListRuns(rpb.ListRunsRequest(thread_id=longest, page_size=1000))).runs) == 1


BULKY: Final[dict[str, tuple[str, Callable[[Any], object]]]] = {
    "sixteen unknown statuses": ("ListRuns", lambda request: request.statuses.extend([99] * 16)),
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
    status = error.raw.SerializeToString()
    assert len(base64.b64encode(status)) + len(quote(error.message)) < 8000


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


@pytest.mark.parametrize("text", [False, True])
async def test_a_run_whose_assignment_is_too_large_ends_and_the_next_one_is_claimed(
    service: Service, monkeypatch: pytest.MonkeyPatch, text: bool
) -> None:
    monkeypatch.setattr(worker_calls, "LARGEST_RESPONSE", 50_000)
    await service.client.assistants.create("hand", assistant_id="hand")
    await service.client.threads.create("large")
    await service.client.threads.update_state("large", {"a": "x" * 60_000})
    for thread_id in ("large", "small"):
        await service.client.runs.create(thread_id, "hand", if_thread_not_exists="create")
    request = wpb.ClaimRunRequest(worker_id="w", graphs=["hand"])
    metadata = (("doubletext-json", "text"),) if text else None
    claimed = await workers(service).ClaimRun(request, metadata=metadata)
    assert claimed.assignment.run.thread_id == "small"
    (run,) = [each async for each in service.client.runs.list("large")]
    assert (run["status"], run["error"] and run["error"]["type"]) == ("error", "TOO_LARGE")


async def test_an_update_by_hand_is_answered_when_the_state_is_too_large(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_calls, "LARGEST_RESPONSE", 50_000)
    await service.client.threads.create("t")
    for step in (1, 2):
        state = await service.client.threads.update_state("t", {str(step): "x" * 30_000})
        assert (state["step"], len(state["values"])) == (step, 1 if step == 1 else 0)
