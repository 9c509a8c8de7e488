"""What the Python client sends and how it goes through listings; what has no form on the wire is not sent."""

from collections.abc import Callable
from typing import Any, Final, get_args

import pytest

from doubletext import Client, types
from tests.rpc.fake_server import all_of, throwaway
from tests.support.server import Service, said

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
    "too long a number": (ValueError, lambda client: client.runs.create("t", "a", input={"n": 10**4300})),
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


async def test_a_run_of_a_built_in_graph_may_take_ten_minutes_and_of_another_any_time(service: Service) -> None:
    limits = {each["assistant_id"]: each["run_timeout"] async for each in service.client.assistants.list()}
    assert limits == {"agent": 600, "echo": 600, "failing": None, "scripted": None}
