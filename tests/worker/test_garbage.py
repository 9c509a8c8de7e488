"""What a broken worker may send: the right code and reason, and nothing written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from tests.support.requests import lists, objects
from tests.support.rpcs import METHODS, Refused, call, refused
from tests.support.server import Service
from tests.support.worker import Held, begun, claimed, dump, message, scene

MIB: Final = 1024 * 1024


def good(held: Held) -> dict[str, Any]:
    """One good request of each call that presents a lease."""
    return {
        "CommitStep": pb.CommitStepRequest(lease=held.lease, update=message("x")),
        "PublishOutput": pb.PublishOutputRequest(lease=held.lease, outputs=[resources.Output(channel="c")]),
        "Heartbeat": pb.HeartbeatRequest(lease=held.lease),
        "WatchLease": pb.WatchLeaseRequest(lease=held.lease),
        "FinishRun": pb.FinishRunRequest(lease=held.lease, success=pb.Success()),
        "ReleaseRun": pb.ReleaseRunRequest(lease=held.lease),
    }


def leaseless(lease: pb.Lease) -> None:
    lease.Clear()


def negative_epoch(lease: pb.Lease) -> None:
    lease.epoch = -1


def lowest_epoch(lease: pb.Lease) -> None:
    lease.epoch = -(2**63)


def no_run(lease: pb.Lease) -> None:
    lease.run_id = ""


def no_id(lease: pb.Lease) -> None:
    lease.run_id = "../t"


WRONG: Final[dict[Callable[[pb.Lease], None], set[str]]] = {
    leaseless: {"lease.epoch", "lease.run_id"},
    negative_epoch: {"lease.epoch"},
    lowest_epoch: {"lease.epoch"},
    no_run: {"lease.run_id"},
    no_id: {"lease.run_id"},
}


def invalid(error: Refused) -> set[str]:
    """The fields that are wrong."""
    assert (error.code, error.reason, set(error.rest)) == ("INVALID_ARGUMENT", "INVALID_FIELD", {"BadRequest"})
    return {field for field, _ in error.violations}


async def test_a_lease_that_is_none_is_named_by_every_call(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        for name, request in good(held).items():
            for spoil, fields in WRONG.items():
                spoilt = type(request)()
                spoilt.CopyFrom(request)
                spoil(spoilt.lease)
                error = await refused(call(service.channel, METHODS[name], spoilt))
                assert invalid(error) == fields, (name, spoil)
            spoilt = type(request)()
            spoilt.CopyFrom(request)
            spoilt.ClearField("lease")
            assert invalid(await refused(call(service.channel, METHODS[name], spoilt))) == {"lease"}
        assert dump(service) == before
        assert (await held.commit("fine")).step == 2


# On the wire: a tag is the field's number times 8, plus 2 for what has a length and 0 for a number.


def with_update(held: Held, tag: int, content: bytes) -> bytes:
    """A CommitStep whose `update` is not what it should be."""
    lease = pb.CommitStepRequest(lease=held.lease).SerializeToString()
    return lease + bytes([tag]) + content


async def raw(service: Service, method: str, request: bytes) -> Refused:
    send: Any = service.channel.unary_unary(f"/doubletext.v1.WorkerService/{method}", request_serializer=None)
    return await refused(send(request))


@pytest.mark.parametrize(
    ("tag", "content", "fields"),
    [
        (0x12, b"\x02\xff\xff", {"request"}),  # no message
        (0x12, b"\x09text here", {"request"}),  # a string
        (0x12, b"\x7fshort", {"request"}),  # cut off
        (0x12, b"\x05\x0a\x03\x0a\x01\xff", {"request"}),  # a key that is no UTF-8
        (0x10, b"\x05", {"update"}),  # a number, which is no `update` at all
        (0x12, b"\x05\x0a\x03\x0a\x01k", {"update"}),  # a key without a value
        (0x12, b"\x07\x0a\x05\x0a\x01k\x12\x00", {"update"}),  # a value of no kind
    ],
)
async def test_an_update_that_is_no_object_is_refused(
    tmp_path: Path, tag: int, content: bytes, fields: set[str]
) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        wrong = invalid(await raw(service, "CommitStep", with_update(held, tag, content)))
        assert {field.split(".")[0] for field in wrong} == fields
        assert dump(service) == before


async def test_every_call_refuses_what_is_no_message_of_it(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        for name in (*good(held), "ClaimRun"):
            for garbage in (b"\xff", b"\x0a\x7f", b"not protobuf at all"):
                send: Any = service.channel.unary_stream if name == "WatchLease" else service.channel.unary_unary
                error = await refused(send(f"/doubletext.v1.WorkerService/{name}", request_serializer=None)(garbage))
                assert invalid(error) == {"request"}, name
        assert dump(service) == before


def of(**values: float) -> Struct:
    made = Struct()
    made.update(values)
    return made


@pytest.mark.parametrize("update", [of(x=float("nan")), of(x=float("inf")), objects(31), lists(31)])
async def test_json_that_is_none_is_refused_wherever_it_stands(tmp_path: Path, update: Struct) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        output = resources.Output(channel="c", data=update)
        requests: list[tuple[str, Message, str]] = [
            ("CommitStep", pb.CommitStepRequest(lease=held.lease, update=update), "update"),
            ("PublishOutput", pb.PublishOutputRequest(lease=held.lease, outputs=[output]), "outputs[0].data"),
            ("FinishRun", pb.FinishRunRequest(lease=held.lease, success=pb.Success(update=update)), "success.update"),
        ]
        for name, request, field in requests:
            (wrong,) = invalid(await refused(call(service.channel, METHODS[name], request)))
            assert wrong.startswith(field), wrong
        assert dump(service) == before


async def test_a_step_and_an_outcome_must_be_there(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        assert invalid(await refused(held.stub.CommitStep(pb.CommitStepRequest(lease=held.lease)))) == {"update"}
        assert invalid(await refused(held.stub.FinishRun(pb.FinishRunRequest(lease=held.lease)))) == {"outcome"}
        assert dump(service) == before
        empty = pb.CommitStepRequest(lease=held.lease, update=Struct())
        assert (await held.stub.CommitStep(empty)).step == 2  # an empty object is one


async def test_a_step_of_5_MiB_is_too_large(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        update = Struct()
        update["x"] = "x" * (5 * MIB)
        requests: list[tuple[str, Any]] = [
            ("CommitStep", pb.CommitStepRequest(lease=held.lease, update=update)),
            ("PublishOutput", pb.PublishOutputRequest(lease=held.lease, outputs=[resources.Output(data=update)])),
            ("FinishRun", pb.FinishRunRequest(lease=held.lease, success=pb.Success(update=update))),
        ]
        for name, request in requests:
            error = await refused(call(service.channel, METHODS[name], request))
            assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
            assert set(error.metadata) == {"what", "size", "limit"}
        assert dump(service) == before
        assert (await held.commit("fine")).step == 2


async def test_a_step_after_the_end_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        await held.succeed("done")
        before = dump(service)
        for number in (None, 3, 4):
            error = await refused(held.commit("one more", expected_step=number))
            assert (error.code, error.reason) == ("FAILED_PRECONDITION", "LEASE_LOST")
        assert dump(service) == before


async def test_one_workers_lease_does_not_open_anothers_run(tmp_path: Path) -> None:
    """Each lease is for its own run: another run's id under one's own epoch is a guess."""
    async with scene(tmp_path / "w.db") as service:
        first = await begun(service)
        await first.release()
        first = await claimed(service)
        assert first.lease.epoch == 2
        second = await begun(service, thread=await service.thread())
        before = dump(service)
        foreign = first.guessed(second.lease.run_id)
        for late in (foreign.commit(), foreign.succeed(), foreign.release(), foreign.beat()):
            assert (await refused(late)).metadata["current_epoch"] == "1"
        assert dump(service) == before
