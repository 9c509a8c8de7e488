"""When the Python client repeats a call: only what is safe to repeat, and with the same request id."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import pytest

from doubletext import Client, DoubletextError, Unavailable, calls, errors
from doubletext_statemachine.errors import NotReady as NotReadyRefusal
from tests.rpc.fake_server import all_of, status, throwaway
from tests.support.rpcs import METHODS
from tests.support.server import Service

# Every RPC, as the client makes it


# fmt: off
CALLS: Final[dict[str, Callable[[Client], Awaitable[Any]]]] = {
    "CreateAssistant": lambda client: client.assistants.create("g"),
    "GetAssistant":    lambda client: client.assistants.get("a"),
    "ListAssistants":  lambda client: all_of(client.assistants.list()),
    "DeleteAssistant": lambda client: client.assistants.delete("a"),
    "CreateThread":    lambda client: client.threads.create("t"),
    "GetThread":       lambda client: client.threads.get("t"),
    "ListThreads":     lambda client: all_of(client.threads.list()),
    "UpdateThread":    lambda client: client.threads.update("t"),
    "DeleteThread":    lambda client: client.threads.delete("t"),
    "GetState":        lambda client: client.threads.get_state("t"),
    "ListStates":      lambda client: all_of(client.threads.list_states("t")),
    "UpdateState":     lambda client: client.threads.update_state("t", {}),
    "CreateRun":       lambda client: client.runs.create("t", "a"),
    "GetRun":          lambda client: client.runs.get("t", "r"),
    "ListRuns":        lambda client: all_of(client.runs.list("t")),
    "JoinRun":         lambda client: client.runs.join("t", "r"),
    "CancelRun":       lambda client: client.runs.cancel("t", "r"),
    "DeleteRun":       lambda client: client.runs.delete("t", "r"),
    "CancelRuns":      lambda client: client.runs.cancel_all("t"),
    "UpdateRun":       lambda client: client.runs.update("t", "r"),
    "MoveRun":         lambda client: client.runs.move("t", "r", first=True),
}
# fmt: on
# Repeating these after an answer was lost would do something twice, or fail for having been done.
ONCE_ONLY: Final = {
    "CreateAssistant",
    "DeleteAssistant",
    "CreateThread",
    "DeleteThread",
    "UpdateState",
    "DeleteRun",
} | {
    "CancelRuns",
    "UpdateRun",
    "MoveRun",
}


def test_the_client_has_every_rpc_that_is_served() -> None:
    """Those of workers are the worker's; the streams are watched on, not repeated."""
    unary = {name for name, method in METHODS.items() if not method.server_streaming}
    assert set(CALLS) == {name for name in unary if METHODS[name].containing_service.name != "WorkerService"}


@pytest.mark.parametrize("method", sorted(set(CALLS) - ONCE_ONLY))
async def test_a_call_that_is_safe_to_repeat_is_repeated_when_the_server_is_unavailable(method: str) -> None:
    async with throwaway([status("UNAVAILABLE")]) as server:
        await CALLS[method](server.client)
        assert server.calls == 2
        assert server.requests[0] == server.requests[1]


@pytest.mark.parametrize("method", sorted(ONCE_ONLY))
async def test_a_call_that_is_not_safe_to_repeat_is_made_once(method: str) -> None:
    async with throwaway([status("UNAVAILABLE")]) as server:
        with pytest.raises(Unavailable):
            await CALLS[method](server.client)
        assert server.calls == 1


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code.name not in ("OK", "UNAVAILABLE")])
async def test_no_other_failure_is_repeated(code: str) -> None:
    async with throwaway([status(code)]) as server:
        with pytest.raises(DoubletextError) as caught:
            await server.client.runs.create("t", "a")
        assert caught.value.code.name == code
        assert server.calls == 1


async def test_a_server_that_is_away_for_longer_than_grpc_tries_is_asked_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "_FIRST_PAUSE", 0.001)
    async with throwaway([status("UNAVAILABLE")] * 7, retry_for=60) as server:
        await server.client.threads.get("t")
        assert server.calls == 8


async def test_a_join_that_was_held_for_long_outlasts_one_restart_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(0, 100)  # each look at it is 100 s later
    monkeypatch.setattr(calls, "_now", lambda: next(clock))
    monkeypatch.setattr(calls, "_FIRST_PAUSE", 0.001)
    async with throwaway([status("UNAVAILABLE")] * 12, retry_for=30) as server:
        await server.client.runs.join("t", "r")
        assert server.calls == 13


async def test_a_server_that_is_never_reached_is_given_up_though_each_try_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(0, 20)
    monkeypatch.setattr(calls, "_now", lambda: next(clock))
    monkeypatch.setattr(calls, "_FIRST_PAUSE", 0.001)
    async with Client("127.0.0.1:1", retry_for=30) as client:
        with pytest.raises(Unavailable):
            await client.runs.join("t", "r")


async def test_a_call_that_is_not_safe_to_repeat_is_made_once_however_long_the_client_would_go_on() -> None:
    async with throwaway([status("UNAVAILABLE")], retry_for=60) as server:
        with pytest.raises(Unavailable):
            await server.client.threads.create("t")
        assert server.calls == 1


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:50051", True),
        ("localhost:1", True),
        ("[::1]:50051", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.9:1", True),
        ("unix:/tmp/d.sock", True),
        ("example.org:50051", False),
        ("10.0.0.1:50051", False),
        ("127.example.org:1", False),
        ("[2001:db8::1]:50051", False),
    ],
)
def test_what_listens_on_this_machine_is_known_as_such(target: str, loopback: bool) -> None:
    assert calls.is_loopback(target) is loopback


async def test_a_server_that_stays_unavailable_is_asked_five_times_by_grpc() -> None:
    async with throwaway([status("UNAVAILABLE", "NOT_READY", {"what": "starting"})] * 9) as server:
        with pytest.raises(errors.NotReady) as caught:
            await server.client.threads.get("t")
        assert server.calls == 5
        assert caught.value.metadata == {"what": "starting"}


# Request ids


async def test_each_create_has_a_request_id_of_its_own_and_its_repetitions_have_the_same() -> None:
    async with throwaway([status("UNAVAILABLE")] * 2) as server:
        await server.client.runs.create("t", "a")
        await server.client.runs.create("t", "a")
        sent = [request.request_id for request in server.requests]
        assert len(sent) == 4
        assert sent[0] == sent[1] == sent[2] != sent[3]
        assert all(sent)


@pytest.mark.parametrize("given", ["mine", ""])
async def test_a_request_id_that_is_given_is_sent_as_it_is(given: str) -> None:
    async with throwaway() as server:
        await server.client.runs.create("t", "a", request_id=given)
        assert server.requests[0].HasField("request_id")
        assert server.requests[0].request_id == given


async def test_a_retried_interrupt_does_not_interrupt_itself(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is lost after the commit; the retry is answered with the run that is there."""
    thread_id = await service.thread()
    first = await service.started(thread_id, "first")
    change, lost = service.app.changes.change, 0

    async def losing(request: Any) -> Any:
        nonlocal lost
        decision = await change(request)
        if decision.admitted is not None and not lost:
            lost += 1
            raise NotReadyRefusal(what="unable to answer")
        return decision

    monkeypatch.setattr(service.app.changes, "change", losing)
    second = await service.say(thread_id, "second", "interrupt")
    assert lost == 1
    assert [run["run_id"] for run in second["superseded"]] == [first["run_id"]]
    runs = await all_of(service.client.runs.list(thread_id, oldest_first=True))
    assert [run["run_id"] for run in runs] == [first["run_id"], second["run_id"]]
