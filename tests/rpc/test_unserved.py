"""A run that nobody is there to execute says so: to those who read it, in a metric, and in the log."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from doubletext_server.engine import dispatcher
from doubletext_server.engine.dispatcher import Dispatcher
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.engine.suspects import Suspects
from tests.support.server import Service, serving
from tests.support.worker import claim, claimed


async def unserved(service: Service, run_id: str) -> tuple[bool, bool, bool]:
    """As GetRun, ListRuns and JoinRun say."""
    listed = [run async for run in service.client.runs.list("t") if run["run_id"] == run_id]
    joined = await service.client.runs.join("t", run_id, wait=0)
    return (await service.client.runs.get("t", run_id))["unserved"], listed[0]["unserved"], joined["run"]["unserved"]


async def test_a_run_is_unserved_until_a_worker_asks_for_its_graph(service: Service) -> None:
    client = service.client
    await client.assistants.create("hand", assistant_id="hand")
    first = await client.runs.create("t", "hand", if_thread_not_exists="create")
    second = await client.runs.create("t", "hand", multitask_strategy="enqueue")
    assert (first["unserved"], second["unserved"]) == (True, True)
    assert await unserved(service, second["run_id"]) == (True, True, True)
    assert service.app.dispatcher.unserved == 1
    await claimed(service, "hand")
    assert await unserved(service, first["run_id"]) == (False, False, False)
    assert await unserved(service, second["run_id"]) == (False, False, False)
    assert service.app.dispatcher.unserved == 0


async def test_a_worker_that_is_full_or_has_just_asked_still_serves(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SERVED_SECONDS", 0.0)
    await service.client.assistants.create("hand", assistant_id="hand")
    run = await service.client.runs.create("t", "hand", if_thread_not_exists="create")
    await claimed(service, "hand")
    second = await service.client.runs.create("t", "hand", multitask_strategy="enqueue")
    assert not second["unserved"], "the worker executes a run of the graph"
    await service.client.runs.cancel("t", run["run_id"])
    assert (await service.client.runs.get("t", second["run_id"]))["unserved"]
    monkeypatch.setattr(dispatcher, "SERVED_SECONDS", 60.0)
    assert await claim(service, "hand") is None, "the stopped attempt is still awaited"
    assert not (await service.client.runs.get("t", second["run_id"]))["unserved"]


async def test_the_servers_own_graphs_are_served(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", ()) as service:
        run = await service.client.runs.create("t", "echo", if_thread_not_exists="create", delay=3600)
        assert not run["unserved"]


async def test_the_log_says_once_that_nobody_executes_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "UNSERVED_SECONDS", 0.0)
    with capture_logs() as logs:
        async with serving(tmp_path / "test.db", ()) as service:
            await service.client.assistants.create("hand", assistant_id="hand")
            for thread_id in ("a", "b"):
                await service.client.runs.create(thread_id, "hand", if_thread_not_exists="create")
            await service.client.threads.get("a")
    told: list[Any] = [entry for entry in logs if "nobody executes" in entry["event"]]
    assert [entry["graph"] for entry in told] == ["hand"]


def test_what_was_asked_for_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(Dispatcher, "_loop_time", staticmethod(lambda: now))
    found = Dispatcher(lambda: 0, Suspects(), HeldLeases(), ["own"])
    found._note_asked(frozenset({"a"}))
    now = 59.0
    found._note_asked(frozenset({"b"}))
    assert [found.serves(graph) for graph in ("own", "a", "b", "c")] == [True, True, True, False]
    now = 60.0
    found._note_asked(frozenset({"c"}))
    assert [found.serves(graph) for graph in ("own", "a", "b", "c")] == [True, False, True, True]
    assert list(found._asked) == ["b", "c"]
