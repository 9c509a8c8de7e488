"""The Python client: what it sends, when it repeats a call, and what it makes of the answers."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

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
    Unavailable,
    convert,
    errors,
    types,
)
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from statemachine.errors import NotReady as NotReadyRefusal
from tests.rpc.test_errors import NOT_SERVED, OURS
from tests.service import Service, said

METHODS: Final = {method.name: method for method in OURS if method not in NOT_SERVED}


# A server that answers as a test says


@dataclass
class Throwaway:
    """Answers every call of ours with an empty message, once the failures are used up."""

    client: Client
    failures: list[Status]
    requests: list[Any] = field(default_factory=list)
    time_remaining: list[float | None] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.requests)


class Answering(grpc.GenericRpcHandler):
    throwaway: Throwaway

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = METHODS[handler_call_details.method.rpartition("/")[2]]
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        return grpc.unary_unary_rpc_method_handler(
            self.answer(response), request.FromString, lambda message: message.SerializeToString()
        )

    def answer(self, response: type[Any]) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.throwaway.requests.append(request)
            self.throwaway.time_remaining.append(context.time_remaining())
            if self.throwaway.failures:
                await context.abort_with_status(rpc_status.to_status(self.throwaway.failures.pop(0)))
            return response()

        return answer


@asynccontextmanager
async def throwaway(failures: Sequence[Status] = ()) -> AsyncIterator[Throwaway]:
    server, handler = grpc.aio.server(), Answering()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Client(f"127.0.0.1:{port}") as client:
        handler.throwaway = Throwaway(client, list(failures))
        yield handler.throwaway
    await server.stop(None)


def status(
    code: str, reason: str = "", metadata: dict[str, str] | None = None, *rest: Any, domain: str = "doubletext"
) -> Status:
    """A google.rpc.Status as the service makes it; without a reason, as a proxy would."""
    made = Status(code=grpc.StatusCode[code].value[0], message=f"{code} it is")
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata), *rest] if reason else []
    for detail in details:
        made.details.add().Pack(detail)
    return made


# Every RPC, as the client makes it


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


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
}
# fmt: on
# Repeating these after an answer was lost would do something twice, or fail for having been done.
ONCE_ONLY: Final = {"CreateAssistant", "DeleteAssistant", "CreateThread", "DeleteThread", "UpdateState", "DeleteRun"}


def test_the_client_has_every_rpc_that_is_served() -> None:
    assert set(CALLS) == set(METHODS)


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


async def test_a_server_that_stays_unavailable_is_asked_five_times() -> None:
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
    change, lost = service.app.store.change, 0

    async def losing(request: Any) -> Any:
        nonlocal lost
        decision = await change(request)
        if decision.admitted is not None and not lost:
            lost += 1
            raise NotReadyRefusal(what="unable to answer")
        return decision

    monkeypatch.setattr(service.app.store, "change", losing)
    second = await service.say(thread_id, "second", "interrupt")
    assert lost == 1
    assert [run["run_id"] for run in second["superseded"]] == [first["run_id"]]
    runs = await all_of(service.client.runs.list(thread_id, oldest_first=True))
    assert [run["run_id"] for run in runs] == [first["run_id"], second["run_id"]]


# Errors


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


# Waiting


@pytest.mark.parametrize("wait", [None, 0, 2.5])
async def test_a_join_sends_its_wait_and_has_no_deadline(wait: float | None) -> None:
    async with throwaway() as server:
        await server.client.runs.join("t", "r", wait=wait)
        assert server.time_remaining == [None]
        (request,) = server.requests
        assert request.HasField("wait") == (wait is not None)
        assert request.wait.ToMilliseconds() == (wait or 0) * 1000


# Listings


async def test_listings_go_on_to_the_last_page_by_themselves(service: Service) -> None:
    client = service.client
    ids = [(await client.threads.create())["thread_id"] for _ in range(5)]
    runs = []
    for number in range(5):
        runs.append(await client.runs.create(ids[0], "echo", input=said(str(number))))
        await client.runs.join(ids[0], runs[-1]["run_id"])
    names = [run["run_id"] for run in runs]
    calls: list[str] = []
    count_calls(service, calls)

    assert [thread["thread_id"] for thread in await all_of(client.threads.list(page_size=2))] == ids[::-1]
    assert [run["run_id"] for run in await all_of(client.runs.list(ids[0], page_size=2))] == names[::-1]
    oldest_first = client.runs.list(ids[0], page_size=2, oldest_first=True)
    assert [run["run_id"] for run in await all_of(oldest_first)] == names
    steps = [state["step"] for state in await all_of(client.threads.list_states(ids[0], page_size=4))]
    assert steps == list(range(10, 0, -1))
    assistants = [each["assistant_id"] for each in await all_of(client.assistants.list(page_size=1))]
    assert assistants == sorted(["agent", "echo", "failing", "scripted"])
    filtered = client.runs.list(ids[0], page_size=2, statuses=["success"])
    assert [run["run_id"] for run in await all_of(filtered)] == names[::-1]
    assert await all_of(client.runs.list(ids[0], page_size=2, statuses=["error", "pending"])) == []
    assert calls == ["threads"] * 3 + ["runs"] * 6 + ["states"] * 3 + ["runs"] * 3 + ["runs"]


def count_calls(service: Service, calls: list[str]) -> None:
    """Note each page that the store is asked for; those of the assistants it has in memory."""
    store: Any = service.app.store

    def counted(name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any) -> Any:
            calls.append(name)
            return ask(*args)

        return count

    for name in ("threads", "runs", "states"):
        setattr(store, name, counted(name, getattr(store, name)))


async def test_a_page_is_fetched_when_it_is_needed(service: Service) -> None:
    for _ in range(3):
        await service.thread()
    calls: list[str] = []
    count_calls(service, calls)
    listing = service.client.threads.list(page_size=1)
    assert calls == []
    await anext(listing)
    assert calls == ["threads"]
    await anext(listing)
    assert calls == ["threads"] * 2


# Mistakes that are not sent


# Callers that run no type checker.
MISTAKES: Final[dict[str, Callable[[Any], Any]]] = {
    "multitask_strategy": lambda client: client.runs.create("t", "a", multitask_strategy="interupt"),
    "default_strategy": lambda client: client.threads.create(default_strategy="interupt"),
    "if_thread_not_exists": lambda client: client.runs.create("t", "a", if_thread_not_exists="craete"),
    "action": lambda client: client.runs.cancel("t", "r", action="stop"),
    "reducer": lambda client: client.assistants.create("g", reducers={"a": "add"}),
}


@pytest.mark.parametrize("field", MISTAKES)
async def test_a_misspelt_name_is_refused_with_the_names_there_are(field: str) -> None:
    async with throwaway() as server:
        with pytest.raises(ValueError, match=rf"^{field} '\w+' is unknown; the names are \w+, ") as caught:
            await MISTAKES[field](server.client)
        assert server.calls == 0
    names = set(str(caught.value).rpartition("are ")[2].split(", "))
    assert (
        names
        == {
            "multitask_strategy": set(get_args(types.MultitaskStrategy)),
            "default_strategy": set(get_args(types.DefaultStrategy)),
            "if_thread_not_exists": set(get_args(types.IfThreadNotExists)),
            "action": set(get_args(types.CancelAction)),
            "reducer": set(get_args(types.Reducer)),
        }[field]
    )


# fmt: off
NO_FORM: Final[dict[str, tuple[type[Exception], Callable[[Client], Any]]]] = {
    "NaN":              (ValueError, lambda client: client.runs.create("t", "a", input={"n": float("nan")})),
    "too large a number": (ValueError, lambda client: client.runs.create("t", "a", input={"n": 10**400})),
    "a set":            (TypeError,  lambda client: client.runs.create("t", "a", input={"n": {1}})),
    "a key that is no text": (TypeError, lambda client: client.runs.create("t", "a", input={"n": {1: 2}})),
    "an endless delay": (ValueError, lambda client: client.runs.create("t", "a", delay=float("inf"))),
    "no time at all":   (ValueError, lambda client: client.runs.join("t", "r", wait=float("nan"))),
    "a status":         (ValueError, lambda client: all_of(client.runs.list("t", statuses=["done"]))),  # type: ignore[list-item]
}
# fmt: on


@pytest.mark.parametrize("what", NO_FORM)
async def test_what_has_no_form_on_the_wire_is_not_sent(what: str) -> None:
    kind, mistake = NO_FORM[what]
    async with throwaway() as server:
        with pytest.raises(kind):
            await mistake(server.client)
        assert server.calls == 0


# What it is made of


@pytest.mark.parametrize("package", ["server", "statemachine"])
def test_the_client_brings_nothing_of_the_server_along(package: str) -> None:
    code = f"import doubletext, sys; sys.exit(any(name.split('.')[0] == {package!r} for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


MESSAGES: Final[dict[Any, Any]] = {
    types.Thread: pb.Thread,
    types.Run: pb.Run,
    types.RunError: pb.RunError,
    types.State: pb.State,
    types.Assistant: pb.Assistant,
    types.Joined: rpb.JoinRunResponse,
}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_each_type_has_the_keys_of_its_message(kind: Any) -> None:
    assert set(kind.__annotations__) == {field.name for field in MESSAGES[kind].DESCRIPTOR.fields}


def test_what_create_returns_is_a_run_and_what_it_ended() -> None:
    added = set(types.CreatedRun.__annotations__) - set(types.Run.__annotations__)
    assert added | {"run"} == {field.name for field in rpb.CreateRunResponse.DESCRIPTOR.fields}


CONVERTED: Final[dict[Any, Callable[[Any], Any]]] = {
    types.Thread: convert.thread,
    types.Run: convert.run,
    types.State: convert.state,
    types.Assistant: convert.assistant,
}


@pytest.mark.parametrize("kind", CONVERTED, ids=lambda kind: kind.__name__)
def test_what_is_returned_has_every_key_even_of_an_empty_message(kind: Any) -> None:
    assert set(CONVERTED[kind](MESSAGES[kind]())) == set(kind.__annotations__)


def names(prefix: str, numbers: Any, *, unspecified: bool = False) -> set[str]:
    found = {name.removeprefix(f"{prefix}_").lower() for name in numbers.keys()}  # noqa: SIM118 - no mapping
    return found if unspecified else found - {"unspecified"}


def test_the_names_in_the_types_are_those_of_the_enums() -> None:
    assert set(get_args(types.MultitaskStrategy)) == names("MULTITASK_STRATEGY", pb.MultitaskStrategy)
    assert set(get_args(types.DefaultStrategy)) == names("MULTITASK_STRATEGY", pb.MultitaskStrategy, unspecified=True)
    assert set(get_args(types.RunStatus)) == names("RUN_STATUS", pb.RunStatus)
    assert set(get_args(types.ThreadStatus)) == names("THREAD_STATUS", pb.ThreadStatus)
    assert set(get_args(types.Reducer)) == names("REDUCER", pb.Reducer)
    assert set(get_args(types.IfThreadNotExists)) == names("IF_THREAD_NOT_EXISTS", pb.IfThreadNotExists)
    assert set(get_args(types.CancelAction)) == names("CANCEL_ACTION", pb.CancelAction)
