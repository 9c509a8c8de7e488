"""Filters by status and metadata as they come over the wire, and what is refused of them."""

from typing import Any, Final

import pytest
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext_server.usecases import limits
from tests.rpc.fake_server import all_of
from tests.support.requests import Scene, changed, struct
from tests.support.rpcs import METHODS, call
from tests.support.server import Service

# One value as clients in several languages write it, and what is another one though it looks alike.
EQUAL: Final[list[tuple[Any, list[Any], list[Any]]]] = [
    (1, [1.0, 1], [True, "1", [1], 1.5, None]),
    (0, [0.0, -0.0], [False, "", None]),
    (2**53 + 2, [float(2**53 + 2)], [2**53, 2**53 + 1, 2**53 + 3]),
    (2**53 + 1, [2**53 + 1], [2**53, float(2**53)]),
    ({"b": 1, "a": [2.0]}, [{"a": [2], "b": 1.0}], [{"b": 1}, {"b": 1, "a": []}]),
    (None, [None], ["null", 0]),
    ("é", ["é"], ["e"]),
]


@pytest.mark.parametrize(("value", "equal", "others"), EQUAL)
async def test_a_filter_is_for_equal_values(service: Service, value: Any, equal: list[Any], others: list[Any]) -> None:
    client = service.client
    await client.threads.create("t", metadata={"k": value, "more": 1})
    run = await client.runs.create("t", "echo", metadata={"k": value, "more": 1})
    for wanted in equal:
        assert [each["thread_id"] for each in await all_of(client.threads.list(metadata={"k": wanted}))] == ["t"]
        assert [each["run_id"] for each in await all_of(client.runs.list("t", metadata={"k": wanted}))] == [
            run["run_id"]
        ]
    for other in others:
        assert await all_of(client.threads.list(metadata={"k": other})) == []
        assert await all_of(client.runs.list("t", metadata={"k": other})) == []


async def test_filters_of_both_kinds_hold_together_and_on_every_page(service: Service) -> None:
    client = service.client
    for number in range(12):
        await client.threads.create(f"t{number:02}", metadata={"even": number % 2 == 0, "third": number % 3 == 0})
        run = await client.runs.create(
            f"t{number:02}", "failing" if number % 4 == 0 else "echo", metadata={"n": number}
        )
        await client.runs.join(f"t{number:02}", run["run_id"])
    listings: dict[tuple[str, ...], list[int]] = {("error",): [0, 4, 8], ("idle",): [2, 6, 10], ("busy",): []}
    listings[("idle", "error")] = [0, 2, 4, 6, 8, 10]
    for statuses, numbers in listings.items():
        found = await all_of(client.threads.list(statuses=statuses, metadata={"even": True}, page_size=2))  # type: ignore[arg-type]
        assert [each["thread_id"] for each in found] == [f"t{number:02}" for number in reversed(numbers)]
    both = await all_of(client.threads.list(metadata={"even": True, "third": True}, page_size=1))
    assert [each["thread_id"] for each in both] == ["t06", "t00"]
    assert len(await all_of(client.runs.list("t05", metadata={"n": 5}, statuses=["success"]))) == 1
    assert await all_of(client.runs.list("t05", metadata={"n": 5}, statuses=["error"])) == []


async def test_an_empty_filter_lets_everything_through_and_is_the_same_as_none(scene: Scene) -> None:
    for method in ("ListThreads", "ListRuns"):
        await scene.service.client.runs.create("t", "echo")
        plain: Any = await call(scene.service.channel, METHODS[method], changed(scene.good(method), page_size=1))
        request = changed(scene.good(method), metadata=Struct(), page_token=plain.next_page_token)
        assert request.HasField("metadata")
        await call(scene.service.channel, METHODS[method], request)


async def test_a_page_token_goes_with_its_filter_however_that_is_written(scene: Scene) -> None:
    for name in ("x", "y", "z"):
        await scene.service.client.threads.create(name, metadata={"a": 1, "b": {"c": 1, "d": 2}})
    first: Any = await scene.service.threads.ListThreads(
        tpb.ListThreadsRequest(metadata=struct({"a": 1, "b": {"c": 1, "d": 2}}), page_size=2)
    )
    assert [thread.thread_id for thread in first.threads] == ["z", "y"]
    token = first.next_page_token
    same = tpb.ListThreadsRequest(metadata=struct({"b": {"d": 2.0, "c": 1}, "a": 1}), page_token=token)
    assert [thread.thread_id for thread in (await scene.service.threads.ListThreads(same)).threads] == ["x"]
    for other in ({"a": 1}, {"a": 1, "b": {"c": 1, "d": 3}}, {}):
        request = tpb.ListThreadsRequest(metadata=struct(other), page_token=token)
        error = await scene.refused("ListThreads", request)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


def keys(count: int) -> Struct:
    return struct({f"k{number}": number for number in range(count)})


@pytest.mark.parametrize(
    ("method", "most"),
    [
        ("ListThreads", limits.MOST_FILTERS),
        ("ListRuns", limits.MOST_FILTERS),
        ("CreateThread", limits.MOST_KEYS),
        ("UpdateThread", limits.MOST_KEYS),
        ("CreateRun", limits.MOST_KEYS),
    ],
)
async def test_metadata_and_filters_have_a_largest_number_of_keys(scene: Scene, method: str, most: int) -> None:
    async with scene.unmoved():
        request = changed(scene.good(method), metadata=keys(most + 1))
        assert await scene.invalid(method, request) == {"metadata": f"has {most + 1} keys; it may have {most}"}
    await call(scene.service.channel, METHODS[method], changed(scene.good(method), metadata=keys(most)))


async def test_as_many_keys_as_a_filter_may_have_are_all_asked_for(service: Service) -> None:
    full = {f"k{number}": number for number in range(limits.MOST_FILTERS)}
    await service.client.threads.create("t", metadata=full)
    assert len(await all_of(service.client.threads.list(metadata=full))) == 1
    for key in full:
        assert await all_of(service.client.threads.list(metadata={**full, key: "other"})) == []


async def test_a_bad_filter_is_told_of_together_with_all_else(scene: Scene) -> None:
    threads = tpb.ListThreadsRequest(
        statuses=[pb.THREAD_STATUS_UNSPECIFIED], metadata=struct({"n": float("nan")}), page_size=-1, page_token="x"
    )
    assert set(await scene.invalid("ListThreads", threads)) == {"statuses[0]", "metadata", "page_size"}
    runs = rpb.ListRunsRequest(statuses=[pb.RUN_STATUS_UNSPECIFIED], metadata=keys(17), page_size=-1)
    assert set(await scene.invalid("ListRuns", runs)) == {"thread_id", "statuses[0]", "metadata", "page_size"}


async def test_a_run_that_is_created_again_under_its_request_id_is_listed_once(service: Service) -> None:
    await service.client.threads.create("t")
    for _ in range(2):
        await service.client.runs.create("t", "echo", metadata={"a": 1}, request_id="once")
    assert len(await all_of(service.client.runs.list("t", metadata={"a": 1}))) == 1
