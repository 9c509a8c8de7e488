"""A page token is taken by the listing and the request that it was made for, and by no other."""

import base64
from typing import Any, Final

import pytest

from doubletext.v1 import resources_pb2 as pb
from doubletext_server.usecases import paging
from tests.support.requests import MIB, Scene, changed, struct
from tests.support.rpcs import METHODS, call


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


CHANGES: Final[dict[str, dict[str, Any]]] = {
    "ListThreads": {"statuses": [pb.THREAD_STATUS_IDLE], "metadata": struct({"a": 1})},
    "ListRuns": {
        "thread_id": "other",
        "statuses": [pb.RUN_STATUS_SUCCESS],
        "oldest_first": True,
        "metadata": struct({"a": 1}),
    },
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
    "ListAssistants": paging.token([5], "assistants"),
    "ListThreads": paging.token([5], "threads", [], "{}"),
    "ListRuns": paging.token([5, "a"], "runs", "t", [], False, "{}"),
    "ListThreads-surrogate": paging.token([5, "\ud800"], "threads", [], "{}"),
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_page_token_made_by_hand_is_refused(scene: Scene, forged: str) -> None:
    method = forged.partition("-")[0]
    error = await scene.refused(method, changed(scene.good(method), page_token=FORGED[forged]))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
