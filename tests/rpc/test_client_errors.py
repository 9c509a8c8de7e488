"""The exceptions that the Python client raises: one for each reason, with all that the server said."""

from typing import Any, Final

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from doubletext import (
    Client,
    DeadlineExceeded,
    DoubletextError,
    EventsTrimmed,
    InternalError,
    InvalidField,
    LeaseLost,
    NotFound,
    RunNotFound,
    RunRolledBack,
    StepNotFound,
    ThreadBusy,
    ThreadNotFound,
    TooLarge,
    Unavailable,
    ValueNotExact,
    errors,
)
from tests.rpc.fake_server import status, throwaway
from tests.support.server import Service


@pytest.mark.parametrize("reason", errors.CLASS_OF)
async def test_each_reason_raises_its_own_exception_with_all_that_the_server_said(reason: str) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    async with throwaway([status("ABORTED", reason, {"thread_id": "t"}, retry)]) as server:
        with pytest.raises(DoubletextError) as caught:
            await server.client.threads.delete("t")
    error = caught.value
    name = "".join(word.capitalize() for word in reason.split("_"))
    assert type(error).__name__ == {"Internal": "InternalError"}.get(name, name)
    assert (error.code, error.reason, str(error)) == (grpc.StatusCode.ABORTED, reason, "ABORTED it is")
    assert (error.metadata, error.retry_after) == ({"thread_id": "t"}, 1.5)
    assert isinstance(error.__cause__, grpc.aio.AioRpcError)


VIOLATIONS: Final = error_details_pb2.BadRequest(
    field_violations=[
        error_details_pb2.BadRequest.FieldViolation(field="a", description="is wrong"),
        error_details_pb2.BadRequest.FieldViolation(field="b", description="too"),
    ]
)
ATTRIBUTES: Final[dict[str, tuple[type[Any], dict[str, str], dict[str, Any]]]] = {
    "THREAD_BUSY": (
        ThreadBusy,
        {"thread_id": "t", "active_run_id": "r", "active_run_status": "running", "in_flight_runs": "2"},
        {"thread_id": "t", "active_run_id": "r", "active_run_status": "running", "in_flight_runs": 2},
    ),
    "RUN_ROLLED_BACK": (
        RunRolledBack,
        {"superseded_by": "s", "deleted_at": "2026-01-01T00:00:00Z"},
        {"superseded_by": "s", "deleted_at": "2026-01-01T00:00:00Z"},
    ),
    "STEP_NOT_FOUND": (StepNotFound, {"last_step": "7"}, {"last_step": 7}),
    "EVENTS_TRIMMED": (EventsTrimmed, {"oldest_sequence": "9"}, {"oldest_sequence": 9}),
    "VALUE_NOT_EXACT": (ValueNotExact, {"path": "values.n"}, {"path": "values.n"}),
    "LEASE_LOST": (
        LeaseLost,
        {"run_id": "r", "epoch": "1", "current_epoch": "2", "cause": "SUPERSEDED"},
        {"run_id": "r", "epoch": 1, "current_epoch": 2, "cause": "SUPERSEDED"},
    ),
    "INTERNAL": (InternalError, {"reference": "x"}, {"reference": "x"}),
    "INVALID_FIELD": (InvalidField, {}, {"violations": [("a", "is wrong"), ("b", "too")]}),
}


@pytest.mark.parametrize("reason", ATTRIBUTES)
async def test_what_an_error_is_about_can_be_read_from_its_attributes(reason: str) -> None:
    kind, metadata, attributes = ATTRIBUTES[reason]
    async with throwaway([status("ABORTED", reason, metadata, VIOLATIONS)]) as server:
        with pytest.raises(kind) as caught:
            await server.client.threads.delete("t")
    assert {name: getattr(caught.value, name) for name in attributes} == attributes


def test_exceptions_are_kinds_of_one_another_as_the_tree_says() -> None:
    assert issubclass(RunRolledBack, RunNotFound)
    assert issubclass(RunNotFound, NotFound)
    assert issubclass(ThreadNotFound, NotFound)
    assert issubclass(errors.NotReady, Unavailable)
    assert all(issubclass(kind, DoubletextError) for kind in errors.CLASS_OF.values())


FOREIGN: Final = {
    "no details": (status("NOT_FOUND"), DoubletextError),
    "another's domain": (status("NOT_FOUND", "THREAD_BUSY", {"a": "b"}, domain="example.com"), DoubletextError),
    "an unknown reason": (status("NOT_FOUND", "BRAND_NEW"), DoubletextError),
    "a deadline": (status("DEADLINE_EXCEEDED"), DeadlineExceeded),
    "another's unavailability": (status("UNAVAILABLE", "NOT_READY", domain="example.com"), Unavailable),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_an_error_that_is_not_ours_is_not_taken_for_one(what: str) -> None:
    failure, kind = FOREIGN[what]
    async with throwaway([failure]) as server:
        with pytest.raises(DoubletextError) as caught:
            await server.client.threads.delete("t")
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.metadata) == ("BRAND_NEW" if "unknown" in what else "", {})


async def test_nobody_there_is_unavailable() -> None:
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(Unavailable) as caught:
            await client.threads.create()
    assert caught.value.reason == ""


async def test_what_grpc_does_not_read_to_its_end_is_too_large(service: Service) -> None:
    with pytest.raises(
        TooLarge, match=r"the message is 6291\d+ bytes, the limit being \d+; store large things elsewhere"
    ):
        await service.client.threads.create(metadata={"a": "x" * 6 * 1024 * 1024})
