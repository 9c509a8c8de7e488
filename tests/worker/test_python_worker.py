"""doubletext.Worker: what it makes of graphs, stops, restarts and its own end, in one process with its server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from doubletext import Client, Context, Graph, InvalidField, Worker, graph
from doubletext.worker import CLAIMS
from doubletext_server.app import App
from doubletext_server.config import Config
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.words import RunStatus
from tests.support.server import Service, failing, gates, said, scripted, serving
from tests.support.worker import claimers


@graph
async def odd(ctx: Context) -> Any:
    """Returns or raises what its input names."""
    return await ODD[ctx.input["do"]]()


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def exits() -> None:
    sys.exit(3)


async def returns_text() -> Any:
    return "text"


async def returns_what_is_no_json() -> Any:
    return {"x": object()}


async def returns_5_mib() -> Any:
    return {"x": "x" * 5 * 1024 * 1024}


async def returns_nothing() -> None:
    return None


ODD = {
    each.__name__: each
    for each in (cancels_itself, exits, returns_text, returns_what_is_no_json, returns_5_mib, returns_nothing)
}


@graph
async def telling(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Says what it was given, in an output and a step."""
    await ctx.emit("tokens", {"said": ctx.input["messages"][0]["content"]})
    yield {"given": {"run": ctx.run, "config": ctx.config, "state": ctx.state}}


GRAPHS = (scripted, failing, odd, telling)


@asynccontextmanager
async def at_work(service: Service, *graphs: Graph, **options: Any) -> AsyncIterator[Worker]:
    """A worker in this process; at the end every gate is opened and it is stopped."""
    worker = Worker(service.app.address, graphs=graphs or GRAPHS, **options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        for gate in gates.values():
            gate.set()
        worker.stop()
        await task


@asynccontextmanager
async def remotely(db: Path, **options: Any) -> AsyncIterator[Service]:
    """A server that executes nothing itself, with the assistants of this file's graphs."""
    async with serving(db, (), **options) as service:
        for each in GRAPHS:
            await service.client.assistants.create(each.name, assistant_id=each.name)
        yield service


def starts(thread_id: str) -> Callable[[Decision], bool]:
    return lambda decision: any(
        run.thread_id == thread_id and run.status is RunStatus.RUNNING for run in decision.moved
    )


async def idle(worker: Worker) -> None:
    """Wait until no graph of the worker is at work, the stopped ones included."""
    while worker._claims:
        await asyncio.wait(list(worker._claims))
        await asyncio.sleep(0)


@pytest.mark.parametrize(("graphs", "slots"), [((), 1), ((scripted,), 0)])
def test_a_worker_needs_a_graph_and_a_slot(graphs: Any, slots: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Worker(graphs=graphs, slots=slots)


async def test_a_worker_makes_the_assistants_that_are_not_there_and_leaves_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "w.db", ()) as service:
        mine = await service.client.assistants.create("failing", assistant_id="failing", config={"mine": True})
        await service.thread()
        async with at_work(service, scripted, failing):
            thread_id = await service.thread()
            run = None
            while run is None:
                with suppress(Exception):
                    run = await service.say(thread_id, "a")
            await service.client.runs.join(thread_id, run["run_id"])
        found = {each["assistant_id"]: each async for each in service.client.assistants.list()}
        assert found["failing"] == mine
        assert (found["scripted"]["graph"], found["scripted"]["config"]) == ("scripted", {})


async def test_a_graph_gets_its_run_its_state_and_its_config(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service, at_work(service):
        await service.client.assistants.create("telling", assistant_id="mine", config={"tone": "kind"})
        thread_id = await service.thread()
        await service.client.threads.update_state(thread_id, {"before": [1, None, 2.5]})
        run = await service.client.runs.create(thread_id, "mine", input=said("hello"), metadata={"m": {"n": 1}})
        joined = await service.client.runs.join(thread_id, run["run_id"])
        assert joined["run"]["status"] == "success"
        given = joined["state"]["values"]["given"]
        assert given["config"] == {"tone": "kind"}
        assert given["state"] == {"before": [1, None, 2.5], **said("hello")}
        assert given["run"] == {
            "run_id": run["run_id"],
            "thread_id": thread_id,
            "assistant_id": "mine",
            "sequence": 1,
            "attempt": 1,
            "metadata": {"m": {"n": 1}},
        }
        outputs = [each.data for each in await service.events(thread_id) if each.data and "said" in each.data]
        assert outputs == ['{"said":"hello"}']


@pytest.mark.parametrize(
    ("do", "type_", "message"),
    [
        ("cancels_itself", "CancelledError", "the graph cancelled itself"),
        ("exits", "SystemExit", "3"),
        ("returns_text", "TypeError", "must be a dict"),
        ("returns_what_is_no_json", "TypeError", "object"),
        ("returns_5_mib", "ValueError", "may have"),
        ("returns_nothing", None, ""),
    ],
)
async def test_what_a_graph_makes_of_its_run(tmp_path: Path, do: str, type_: str | None, message: str) -> None:
    async with remotely(tmp_path / "w.db") as service, at_work(service) as worker:
        thread_id = await service.thread()
        run = await service.client.runs.create(thread_id, "odd", input={"do": do})
        ended = (await service.client.runs.join(thread_id, run["run_id"], wait=20))["run"]
        assert (ended["status"], ended["last_step"]) == ("error" if type_ else "success", 1)
        error = ended["error"] or {"type": None, "message": ""}
        assert error["type"] == type_
        assert message in (error["message"] or "")
        after = await service.say(thread_id, "after")
        assert (await service.client.runs.join(thread_id, after["run_id"]))["run"]["status"] == "success"
        await idle(worker)


async def test_a_graph_that_fails_keeps_the_steps_that_it_made(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service, at_work(service):
        thread_id = await service.thread()
        run = await service.say(thread_id, "a", assistant="failing")
        ended = (await service.client.runs.join(thread_id, run["run_id"]))["run"]
        assert (ended["status"], ended["error"]) == ("error", {"type": "LookupError", "message": "no such weather"})
        assert await service.contents(thread_id) == ["a", "so far"]


async def test_a_worker_executes_no_more_runs_than_it_has_slots(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service, at_work(service, slots=2) as worker:
        threads = [await service.thread() for _ in range(5)]
        started: list[str] = []
        for number, thread_id in enumerate(threads):
            if number < 2:
                started.append((await service.started(thread_id, str(number)))["run_id"])
            else:
                await service.say(thread_id, str(number), after={"0": f"never {number}"}, steps=1)
        assert not claimers(service, "scripted"), "it claims a third"
        assert [(await service.statuses(each))[0] for each in threads] == ["running"] * 2 + ["pending"] * 3
        with service.commit(starts(threads[2])) as third:
            gates["never 1"].set()
            await service.client.runs.join(threads[1], started[1])
            await third
        assert len(worker._claims) <= 2
        assert [(await service.statuses(each))[0] for each in threads] == [
            "running",
            "success",
            "running",
            "pending",
            "pending",
        ]


@pytest.mark.parametrize(("slots", "claims"), [(3, 3), (100, CLAIMS)])
async def test_a_worker_has_several_claims_under_way(tmp_path: Path, slots: int, claims: int) -> None:
    async with remotely(tmp_path / "w.db") as service:
        thread_id = await service.thread()
        async with at_work(service, slots=slots):
            while claimers(service, "scripted") < claims:
                await service.client.threads.get(thread_id)
            await service.client.threads.get(thread_id)
            assert claimers(service, "scripted") == claims


async def test_a_graph_that_swallows_its_cancellation_is_fenced(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service, at_work(service) as worker:
        await service.client.assistants.create("scripted", assistant_id="short", stop_grace=0.05)
        for strategy, kept in (("interrupt", ["old", "old 1"]), ("rollback", [])):
            thread_id = await service.thread()
            await service.started(
                thread_id, "old", assistant="short", stubborn=True, steps=3, after={"1": strategy}, steps_made=1
            )
            heir = await service.say(thread_id, "new", strategy)
            joined = await service.client.runs.join(thread_id, heir["run_id"])
            assert joined["run"]["status"] == "success"
            before = await service.events(thread_id)
            gates[strategy].set()
            await idle(worker)
            assert await service.events(thread_id) == before
            assert await service.contents(thread_id) == [*kept, "new", "new 1"]


async def test_a_stopped_graph_is_cancelled_at_once_and_the_stop_acknowledged(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service, at_work(service):
        await service.client.assistants.create("scripted", assistant_id="long", stop_grace=3600)
        thread_id = await service.thread()
        await service.started(thread_id, "old", assistant="long", steps_made=1)
        heir = await service.say(thread_id, "new", "interrupt")
        assert (await service.client.runs.join(thread_id, heir["run_id"], wait=20))["run"]["status"] == "success"
        assert await service.contents(thread_id) == ["old", "old 1", "new", "new 1"]


async def test_a_worker_with_a_bad_name_gives_up(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db") as service:
        worker = Worker(service.app.address, graphs=[scripted], worker_id="no id")
        with pytest.raises(InvalidField):
            await worker.run()


async def test_a_worker_is_named_after_its_process(tmp_path: Path) -> None:
    first, second = (Worker(graphs=[scripted]).worker_id for _ in range(2))
    assert first != second
    assert f"-{os.getpid()}-" in first


@asynccontextmanager
async def server(db: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[App]:
    """A server without graphs."""
    app = await App.start(Config(listen, str(db), {}))
    try:
        yield app
    finally:
        await app.stop()


async def test_a_worker_goes_on_with_its_runs_when_its_server_comes_back(tmp_path: Path) -> None:
    """What ran over the restart is not begun again, and what is new is claimed."""
    gates.clear()
    reached = asyncio.Event()

    @graph
    async def lasting(ctx: Context) -> AsyncIterator[dict[str, Any]]:
        yield {"messages": [{"role": "assistant", "content": "before"}]}
        reached.set()
        await gates["on"].wait()
        yield {"messages": [{"role": "assistant", "content": f"after, attempt {ctx.run['attempt']}"}]}

    db = tmp_path / "w.db"
    async with server(db) as app:
        address = app.address
        worker = Worker(address, graphs=[lasting])
        working = asyncio.create_task(worker.run())
        async with Client(address) as client:
            run = None
            while run is None:
                with suppress(Exception):
                    run = await client.runs.create("t", "lasting", input=said("a"), if_thread_not_exists="create")
            await reached.wait()
    gates["on"].set()  # while there is no server
    async with server(db, address), Client(address) as client:
        joined = await client.runs.join("t", run["run_id"], wait=20)
        assert (joined["run"]["status"], joined["run"]["attempt"]) == ("success", 1)
        assert [m["content"] for m in joined["state"]["values"]["messages"]] == ["a", "before", "after, attempt 1"]
        more = await client.runs.create("t", "lasting", input=said("b"))
        assert (await client.runs.join("t", more["run_id"], wait=20))["run"]["status"] == "success"
        worker.stop()
        assert await working is False


async def test_a_worker_that_was_never_answered_can_be_stopped(tmp_path: Path) -> None:
    async with server(tmp_path / "w.db") as app:
        address = app.address
    worker = Worker(address, graphs=[scripted])
    working = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    assert await asyncio.wait_for(working, 5) is False
