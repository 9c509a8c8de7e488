"""Requests as values: what protobuf has of its own becomes a plain value, or the mark of one that cannot be read."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from doubletext.v1.run_service_pb2 import JoinRunRequest
from doubletext_server.clock import rfc3339
from doubletext_server.grpc.wire import reading
from doubletext_server.usecases.values import Unreadable


@pytest.mark.parametrize(
    ("given", "micros"),
    [
        ({}, 0),
        ({"seconds": 2}, 2_000_000),
        ({"nanos": 1}, 1),
        ({"nanos": 1_000}, 1),
        ({"seconds": 1, "nanos": 1_001}, 1_000_002),
        ({"nanos": -1}, -1),
        ({"seconds": -1, "nanos": -1_001}, -1_000_002),
    ],
)
def test_a_duration_is_rounded_away_from_zero(given: dict[str, int], micros: int) -> None:
    assert reading.duration(JoinRunRequest(wait=Duration(**given)), "wait") == micros


@pytest.mark.parametrize(
    "given", [{"seconds": 1, "nanos": -1}, {"seconds": -1, "nanos": 1}, {"nanos": 10**9}, {"nanos": -(10**9)}]
)
def test_a_duration_that_is_none_is_unreadable(given: dict[str, int]) -> None:
    assert isinstance(reading.duration(JoinRunRequest(wait=Duration(**given)), "wait"), Unreadable)


def test_a_duration_that_is_absent_is_none() -> None:
    request: Any = JoinRunRequest()
    assert reading.duration(request, "wait") is None


@pytest.mark.parametrize("micros", [0, 1, 1_000, 999_000, 999_999, 1_000_000, 1_764_136_800_123_456, -1])
def test_a_time_is_written_as_protobuf_writes_it(micros: int) -> None:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    assert rfc3339(micros) == stamp.ToJsonString()
