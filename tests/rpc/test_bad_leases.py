"""What a worker gets wrong: leases that are none, another's or over, and garbage inside what it sends. Nothing of it is
written, and the lease that is good goes on."""

import math
from collections.abc import Callable
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext_server.grpc.edge import LARGEST_REQUEST
from tests.rpc.test_bad_fields import MALFORMED, bad_structs
from tests.support.request_fields import fields, is_content, is_ids, is_lease
from tests.support.requests import MIB, Scene, changed, struct, workers
from tests.support.rpcs import METHODS

LEASED: Final = [method for method in METHODS if "lease" in METHODS[method].input_type.fields_by_name]
LARGEST: Final = 2**63 - 1


def test_every_call_of_a_worker_but_the_claim_presents_its_lease() -> None:
    of_workers = {name for name, method in METHODS.items() if method.containing_service.name == "WorkerService"}
    assert set(LEASED) == of_workers - {"ClaimRun"}
    assert len(LEASED) == 6


# The lease as a field


@pytest.mark.parametrize(("method", "field"), fields(is_lease))
async def test_a_missing_lease_is_named(scene: Scene, method: str, field: FieldDescriptor) -> None:
    request = scene.good(method)
    request.ClearField(field.name)
    async with scene.unmoved():
        wrong = await scene.invalid(method, request)
    assert set(wrong) == {"lease"}
    assert wrong["lease"].startswith("is required")


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_of_a_run_id_that_is_none_is_refused(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        for bad in ("", *MALFORMED):
            request = scene.good(method)
            request.lease.run_id = bad
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {"lease.run_id"}
            assert "1 to 128 characters of A-Z a-z 0-9 . _ -" in wrong["lease.run_id"]
            assert len(wrong["lease.run_id"]) < 200


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_of_an_epoch_that_no_claim_has_is_refused(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        for bad in (0, -1, -(2**63)):
            request = scene.good(method)
            request.lease.epoch = bad
            wrong = await scene.invalid(method, request)
            assert wrong == {"lease.epoch": f"is {bad}; epochs are 1, 2, 3 …"}
            request.lease.run_id = "a b"
            assert set(await scene.invalid(method, request)) == {"lease.epoch", "lease.run_id"}


@pytest.mark.parametrize("method", LEASED)
async def test_when_the_worker_thinks_that_its_lease_ends_is_not_looked_at(scene: Scene, method: str) -> None:
    for seconds in (0, 1, -(2**63)):
        request = scene.good(method)
        request.lease.expire_time.seconds = seconds
        request.lease.epoch = 2
        assert (await scene.refused(method, request)).metadata["cause"] == "CLAIMED_AGAIN"


# Leases that are well formed, and not the worker's


async def lost(scene: Scene, method: str, **lease: Any) -> tuple[str, str]:
    """The current epoch and the cause with which the lease is refused."""
    request = scene.good(method)
    for name, value in lease.items():
        setattr(request.lease, name, value)
    error = await scene.refused(method, request)
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "LEASE_LOST")
    assert error.rest == {}
    facts = dict(error.metadata)
    assert facts.pop("run_id") == request.lease.run_id
    assert facts.pop("epoch") == str(request.lease.epoch)
    return facts.pop("current_epoch"), facts.pop("cause")


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_of_another_epoch_is_lost(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        for epoch in (2, LARGEST):
            assert await lost(scene, method, epoch=epoch) == ("1", "CLAIMED_AGAIN")


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_of_a_run_that_is_not_there_is_lost(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        for run_id in ("nowhere", "t", "0" * 128):
            assert await lost(scene, method, run_id=run_id) == ("0", "DELETED")


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_of_a_run_that_is_over_is_lost(scene: Scene, method: str) -> None:
    async with scene.unmoved():
        assert await lost(scene, method, run_id=scene.run_id) == ("1", "SUCCESS")


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_guessed_for_a_run_that_the_server_itself_executes_is_foreign(scene: Scene, method: str) -> None:
    run = await scene.service.started("other", "the server's own")
    async with scene.unmoved():
        assert await lost(scene, method, run_id=run["run_id"]) == ("1", "FOREIGN")
        failure = wpb.FinishRunRequest(lease=wpb.Lease(run_id=run["run_id"], epoch=1), error=pb.RunError(type="E"))
        assert (await scene.refused("FinishRun", failure)).metadata["cause"] == "FOREIGN"
    assert (await scene.service.client.runs.get("other", run["run_id"]))["status"] == "running"


@pytest.mark.parametrize("method", LEASED)
async def test_a_lease_guessed_for_a_run_that_nobody_has_claimed_is_lost(scene: Scene, method: str) -> None:
    run = await scene.service.say("other", "later", delay=3600)
    async with scene.unmoved():
        assert await lost(scene, method, run_id=run["run_id"]) == ("0", "PENDING")


@pytest.mark.parametrize("method", LEASED)
async def test_the_server_itself_is_not_told_by_a_worker_that_it_has_stopped(scene: Scene, method: str) -> None:
    await scene.service.client.assistants.create("scripted", assistant_id="patient", stop_grace=3600)
    run = await scene.service.started("other", "stubborn", stubborn=True, assistant="patient", steps_made=1)
    await scene.service.client.runs.cancel("other", run["run_id"])
    async with scene.unmoved():
        assert await lost(scene, method, run_id=run["run_id"]) == ("1", "CANCELLED")


@pytest.mark.parametrize("method", [method for method in LEASED if method != "FinishRun"])
async def test_after_the_end_every_call_of_the_attempt_is_too_late(scene: Scene, method: str) -> None:
    """Another finish too; the same one is answered again."""
    stub, finish = workers(scene.service), scene.good("FinishRun")
    first = await stub.FinishRun(finish)
    async with scene.unmoved():
        assert await lost(scene, method) == ("1", "SUCCESS")
        assert await stub.FinishRun(finish) == first
        for other in (wpb.Success(update=Struct()), pb.RunError(type="E"), pb.RunError()):
            request = wpb.FinishRunRequest(lease=scene.lease)
            getattr(request, "success" if isinstance(other, wpb.Success) else "error").CopyFrom(other)
            assert (await scene.refused("FinishRun", request)).metadata["cause"] == "SUCCESS"


# What else it sends


async def test_a_claim_of_no_graph_is_refused(scene: Scene) -> None:
    request = scene.good("ClaimRun")
    request.ClearField("graphs")
    async with scene.unmoved():
        assert (await scene.invalid("ClaimRun", request))["graphs"].startswith("is required")


@pytest.mark.parametrize(("method", "field"), fields(is_ids))
async def test_a_name_that_is_none_in_a_list_is_refused(scene: Scene, method: str, field: FieldDescriptor) -> None:
    request = scene.good(method)
    request.ClearField(field.name)
    async with scene.unmoved():
        for bad in ("", *MALFORMED):
            wrong = await scene.invalid(method, changed(request, **{field.name: ["g", bad]}))
            assert set(wrong) == {f"{field.name}[1]"}


async def test_a_claim_of_graphs_that_are_of_no_run_gets_none_and_takes_none(scene: Scene) -> None:
    run = await scene.service.say("other", "of another graph", delay=3600)
    async with scene.unmoved():
        request = wpb.ClaimRunRequest(worker_id="w", graphs=["g" * 128, "scripted", "remote", "remote"])
        assert not (await workers(scene.service).ClaimRun(request)).HasField("assignment")
    assert (await scene.service.client.runs.get("other", run["run_id"]))["attempt"] == 0


async def test_a_step_without_an_update_is_refused_and_an_empty_one_is_a_step(scene: Scene) -> None:
    async with scene.unmoved():
        wrong = await scene.invalid("CommitStep", wpb.CommitStepRequest(lease=scene.lease))
    assert set(wrong) == {"update"}
    assert wrong["update"].startswith("is required")
    step = wpb.CommitStepRequest(lease=scene.lease, update=Struct())
    assert (await workers(scene.service).CommitStep(step)).step == 2


async def test_a_step_of_a_number_that_is_not_the_next_ones_is_refused_with_the_one_that_is(scene: Scene) -> None:
    commit, request = workers(scene.service).CommitStep, scene.good("CommitStep")
    request.expected_step = 2
    for _ in range(2):
        assert (await commit(request)).step == 2
    async with scene.unmoved():
        for expected, update in ((1, {}), (2, {"a": 2}), (4, {"a": 1}), (LARGEST, {"a": 1})):
            bad = wpb.CommitStepRequest(lease=scene.lease, update=struct(update), expected_step=expected)
            wrong = await scene.invalid("CommitStep", bad)
            assert set(wrong) == {"expected_step"}
            assert wrong["expected_step"].startswith(f"is {expected}; the run's next step is 3,")


async def test_a_finish_without_an_outcome_is_refused(scene: Scene) -> None:
    async with scene.unmoved():
        wrong = await scene.invalid("FinishRun", wpb.FinishRunRequest(lease=scene.lease))
    assert set(wrong) == {"outcome"}
    assert wrong["outcome"].startswith("is required")


# JSON objects inside what it sends, by the path that names them; those that are fields stand in test_bad_fields.
INSIDE: Final[dict[str, tuple[str, Callable[[Any], Struct]]]] = {
    "success.update": ("FinishRun", lambda request: request.success.update),
    "outputs[1].data": ("PublishOutput", lambda request: request.outputs.add(channel="c").data),
}


def test_each_field_with_fields_of_its_own_is_looked_into() -> None:
    messages = {field.name for _, field in (each.values for each in fields(is_content))}
    assert messages == {"success", "outputs", "error"}  # an error has two texts, any of which will do


@pytest.mark.parametrize("path", INSIDE)
async def test_what_is_no_json_object_is_refused_inside_too(scene: Scene, path: str) -> None:
    method, place = INSIDE[path]
    async with scene.unmoved():
        for bad, said_of_it in bad_structs():
            request = scene.good(method)
            place(request).CopyFrom(bad)
            wrong = await scene.invalid(method, request)
            assert set(wrong) == {path}
            assert said_of_it in wrong[path]


async def test_of_several_outputs_none_is_published_when_one_is_bad(scene: Scene) -> None:
    request = scene.good("PublishOutput")
    for number in (1, math.nan, 2, math.inf):
        request.outputs.add(channel="c", data=struct({"n": number}))
    async with scene.unmoved():
        assert set(await scene.invalid("PublishOutput", request)) == {"outputs[2].data", "outputs[4].data"}


@pytest.mark.parametrize("path", INSIDE)
async def test_five_megabytes_inside_are_too_large(scene: Scene, path: str) -> None:
    method, place = INSIDE[path]
    request = scene.good(method)
    place(request).update({"text": "x" * 5 * MIB})
    async with scene.unmoved():
        error = await scene.refused(method, request)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    assert error.metadata == {"what": "the request", "size": str(request.ByteSize()), "limit": str(LARGEST_REQUEST)}
