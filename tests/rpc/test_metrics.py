"""What Prometheus is told: each metric after a scenario that is played out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from doubletext.v1 import run_service_pb2, worker_service_pb2
from doubletext_server.engine.changes import Changes
from doubletext_server.grpc.edge import LARGEST_REQUEST
from doubletext_server.store.sqlite import lane
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.model import Assistant
from tests.rpc.metered_server import LEASE, Scene, played
from tests.support.clock import ManualClock
from tests.support.rpcs import METHODS, call, refused


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with played(tmp_path / "test.db", ManualClock()) as scene:
        await scene.service.client.assistants.create("remote", assistant_id="remote", stop_grace=5)
        yield scene


# Admissions


async def test_each_admission_is_counted_with_its_strategy_and_its_verdict(scene: Scene) -> None:
    for strategy in (None, "enqueue", "interrupt", "interrupt", "rollback"):
        await scene.create("t", strategy)
    await scene.service.client.threads.create("rejecting", default_strategy="reject")
    await scene.create("rejecting")
    await scene.create("rejecting", "enqueue", request_id="x")
    await scene.create("rejecting", "enqueue", request_id="x")
    assert await scene.told("admissions_total") == {
        'admissions_total{strategy="enqueue",verdict="admitted"}': 3,
        'admissions_total{strategy="interrupt",verdict="admitted"}': 2,
        'admissions_total{strategy="rollback",verdict="admitted"}': 1,
        'admissions_total{strategy="reject",verdict="admitted"}': 1,
        'admissions_total{strategy="none",verdict="repeated"}': 1,
    }


async def test_each_refusal_of_a_run_is_counted_with_its_reason(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    app = scene.service.app

    async def fails(request: commands.Command) -> None:
        raise LookupError("a bug")

    async def refuse(**fields: Any) -> str:
        request = run_service_pb2.CreateRunRequest(**{"thread_id": "t", "assistant_id": "remote", **fields})
        return (await refused(call(scene.service.channel, METHODS["CreateRun"], request))).reason

    await scene.service.client.threads.create("t", max_queued_runs=1)
    await scene.create("t", request_id="x")
    reasons = [
        await refuse(multitask_strategy="MULTITASK_STRATEGY_REJECT"),
        await refuse(multitask_strategy="MULTITASK_STRATEGY_REJECT"),
        await refuse(),
        await refuse(request_id="x", metadata={"other": 1}),
        await refuse(thread_id="nowhere"),
        await refuse(assistant_id="nobody"),
        await refuse(thread_id="?"),
        await refuse(input={"much": "x" * LARGEST_REQUEST}),
    ]
    app.edge.closed = "stopping"
    reasons.append(await refuse())
    app.edge.closed = None
    with monkeypatch.context() as broken:
        broken.setattr(app.changes, "change", fails)
        reasons.append(await refuse())
    await refused(scene.service.runs.GetRun(run_service_pb2.GetRunRequest(run_id="nowhere")))
    expected = {
        'admissions_total{strategy="enqueue",verdict="admitted"}': 1,
        'admissions_total{strategy="reject",verdict="THREAD_BUSY"}': 2,
        'admissions_total{strategy="enqueue",verdict="QUEUE_FULL"}': 1,
        'admissions_total{strategy="none",verdict="REQUEST_ID_REUSED"}': 1,
        'admissions_total{strategy="none",verdict="THREAD_NOT_FOUND"}': 1,
        'admissions_total{strategy="none",verdict="ASSISTANT_NOT_FOUND"}': 1,
        'admissions_total{strategy="none",verdict="INVALID_FIELD"}': 1,
        'admissions_total{strategy="none",verdict="TOO_LARGE"}': 1,
        'admissions_total{strategy="none",verdict="NOT_READY"}': 1,
        'admissions_total{strategy="none",verdict="INTERNAL"}': 1,
    }
    assert await scene.told("admissions_total") == expected
    assert [f'verdict="{reason}"' in " ".join(expected) for reason in reasons] == [True] * 10


# Runs


async def test_runs_are_counted_while_in_flight_and_as_they_end(scene: Scene) -> None:
    client = scene.service.client

    async def told() -> dict[str, float]:
        return await scene.told("runs_in_flight", "runs_finished_total")

    for thread_id in "abc":
        await scene.create(thread_id, delay=60)
    assert await told() == {'runs_in_flight{status="pending"}': 3}
    run = await scene.create("t")
    first = await scene.claim(run)
    assert await told() == {'runs_in_flight{status="pending"}': 3, 'runs_in_flight{status="running"}': 1}
    await scene.release(first)
    assert await told() == {'runs_in_flight{status="pending"}': 4}
    await scene.finish(await scene.claim(run))
    await scene.finish(await scene.claim(await scene.create("t")), error="Trouble")
    await scene.claim(await scene.create("t", timeout=2))
    scene.passes(2)
    await scene.tick("t")
    await client.runs.cancel(None, await scene.create("t"))
    await client.runs.cancel(None, await scene.create("t"), action="rollback")
    await scene.create("t")
    await scene.create("t", "interrupt")
    await scene.create("t", "rollback")
    await client.threads.delete("t")
    await client.threads.delete("a")
    assert await told() == {
        'runs_in_flight{status="pending"}': 2,
        'runs_finished_total{reason="none",status="success"}': 1,
        'runs_finished_total{reason="none",status="error"}': 1,
        'runs_finished_total{reason="TIMEOUT",status="timeout"}': 1,
        'runs_finished_total{reason="CANCELLED",status="interrupted"}': 1,
        'runs_finished_total{reason="CANCELLED",status="deleted"}': 1,
        'runs_finished_total{reason="SUPERSEDED",status="interrupted"}': 1,
        'runs_finished_total{reason="SUPERSEDED",status="deleted"}': 1,
        'runs_finished_total{reason="THREAD_DELETED",status="deleted"}': 2,
    }


async def test_a_server_knows_what_is_in_flight_from_its_start_on(tmp_path: Path) -> None:
    clock, db = ManualClock(), tmp_path / "test.db"
    async with played(db, clock) as scene:
        await scene.service.client.assistants.create("remote", assistant_id="remote")
        lease = await scene.claim(first := await scene.create("t"))
        for thread_id in ("t", "u", "v"):
            await scene.create(thread_id, delay=1)
    async with played(db, clock) as scene:
        told = await scene.told("runs_.*", "admissions_total", "queue_seconds")
        assert told == {'runs_in_flight{status="pending"}': 3, 'runs_in_flight{status="running"}': 1}
        await scene.finish(lease)
        assert (await scene.service.client.runs.get("t", first))["status"] == "success"
        assert await scene.told("runs_.*") == {
            'runs_in_flight{status="pending"}': 3,
            'runs_finished_total{reason="none",status="success"}': 1,
        }


# Latencies


async def test_a_run_is_timed_from_when_it_is_due_to_its_first_start(scene: Scene) -> None:
    run = await scene.create("t", delay=10)
    scene.passes(10.25)
    await scene.tick("t")
    lease = await scene.claim(run)
    assert await scene.told("queue_seconds") == {"queue_seconds_sum": 0.25, "queue_seconds_count": 1}
    scene.passes(1)
    await scene.release(lease)
    await scene.claim(run)
    assert await scene.told("queue_seconds") == {"queue_seconds_sum": 0.25, "queue_seconds_count": 1}


async def test_the_next_in_line_is_timed_from_the_end_of_the_run_before_it(scene: Scene) -> None:
    lease = await scene.claim(await scene.create("t"))
    second, third = await scene.create("t"), await scene.create("t")
    scene.passes(1)
    await scene.finish(lease)
    scene.passes(0.5)
    lease = await scene.claim(second)
    assert await scene.told("hand_off_seconds") == {"hand_off_seconds_sum": 0.5, "hand_off_seconds_count": 1}
    await scene.service.client.runs.cancel("t", second)
    scene.passes(2)
    await scene.release(lease)
    lease = await scene.claim(third)
    assert await scene.told("hand_off_seconds") == {"hand_off_seconds_sum": 2.5, "hand_off_seconds_count": 2}

    await scene.finish(lease)  # nobody is in line
    scene.passes(3)
    late = await scene.create("t")
    scene.passes(3)
    lease = await scene.claim(late)
    delayed = await scene.create("t", delay=3)  # this one only after the end of the one before it
    await scene.finish(lease)
    scene.passes(4)
    await scene.tick("t")
    await scene.claim(delayed)
    told = await scene.told("hand_off_seconds", "supersede_seconds")
    assert told == {"hand_off_seconds_sum": 2.5, "hand_off_seconds_count": 2}
    assert scene.service.app.metrics is not None
    assert scene.service.app.metrics._gaps == {}


async def test_a_superseding_run_is_timed_from_its_admission_to_its_start(scene: Scene) -> None:
    lease = await scene.claim(await scene.create("t"))
    scene.passes(1)
    await scene.create("t", "interrupt")
    scene.passes(0.25)
    second = await scene.create("t", "rollback")
    scene.passes(0.5)
    await scene.service.client.runs.cancel("t", await scene.create("t"))
    await scene.release(lease)
    scene.passes(0.25)
    lease = await scene.claim(second)
    expected = {"supersede_seconds_sum": 0.75, "supersede_seconds_count": 1}
    assert await scene.told("supersede_seconds", "hand_off_seconds") == expected

    await scene.finish(lease)
    lease = await scene.claim(await scene.create("t", "interrupt"))  # there was nothing to interrupt
    cancelled, behind = await scene.create("t", "interrupt"), await scene.create("t")
    await scene.service.client.runs.cancel("t", cancelled)
    await scene.release(lease)
    await scene.claim(behind)  # it did away with nobody
    assert await scene.told("supersede_seconds", "hand_off_seconds") == expected


async def test_a_thread_that_is_deleted_leaves_no_time_to_be_measured(scene: Scene) -> None:
    await scene.claim(await scene.create("t"))
    await scene.create("t", "interrupt")
    assert scene.service.app.metrics is not None
    assert list(scene.service.app.metrics._gaps) == ["t"]
    await scene.service.client.threads.delete("t")
    assert scene.service.app.metrics._gaps == {}


# What goes wrong with executors


async def test_a_lease_that_is_lost_is_counted_with_its_cause(scene: Scene) -> None:
    run = await scene.create("t")
    for _ in range(3):
        await scene.claim(run)
        scene.passes(LEASE)
        await scene.tick("t")
    assert (await scene.service.client.runs.get("t", run))["reason"] == "MAX_ATTEMPTS"
    assert await scene.told("leases_lost_total", "runs_.*") == {
        'leases_lost_total{cause="expired"}': 3,
        'runs_finished_total{reason="MAX_ATTEMPTS",status="error"}': 1,
    }


async def test_a_run_whose_server_died_is_counted_as_lost_by_the_next_one(tmp_path: Path) -> None:
    clock, db = ManualClock(), tmp_path / "test.db"
    store = await SqliteStore.open(str(db), clock)
    assistant = await store.add_assistant(Assistant(0, "remote", "remote", clock()))
    changes = Changes(store)
    await changes.change(commands.AdmitRun("t", "r", "remote", assistant, create_thread=True))
    await changes.change(commands.ClaimRun("t", frozenset({"remote"})))
    await store.close()
    async with played(db, clock) as scene:
        assert await scene.told("leases_lost_total", "runs_.*") == {
            'leases_lost_total{cause="restarted"}': 1,
            'runs_in_flight{status="pending"}': 1,
        }


async def test_stopped_attempts_that_do_not_end_in_time_are_counted_and_no_others(scene: Scene) -> None:
    lease = await scene.claim(await scene.create("obeys"))
    second = await scene.create("obeys", "interrupt")
    await scene.release(lease)
    await scene.claim(second)
    assert await scene.told("stops_overdue_total") == {}

    await scene.claim(await scene.create("timed"))
    await scene.create("timed", "interrupt")
    scene.passes(5)
    await scene.tick("timed")
    assert await scene.told("stops_overdue_total") == {"stops_overdue_total": 1}


# The writer


async def test_each_commit_is_counted_with_its_size_and_its_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await scene.told("commit_batch_size", "commit_seconds")
    ticks = iter(range(1_000))
    monkeypatch.setattr(lane, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 4))
    changes = scene.service.app.changes
    await changes.change(commands.CreateThread("first"))
    await asyncio.gather(*(changes.change(commands.CreateThread(f"t{number}")) for number in range(10)))
    after = await scene.told("commit_batch_size", "commit_seconds")
    assert {name: after[name] - before[name] for name in after} == pytest.approx(
        {
            "commit_batch_size_sum": 11,
            "commit_batch_size_count": 2,
            "commit_seconds_sum": 0.5,
            "commit_seconds_count": 2,
        }
    )


# Who waits


async def test_those_who_wait_are_counted_as_long_as_they_do(scene: Scene) -> None:
    async def reaches(expected: dict[str, float]) -> None:
        while await scene.told("waiting") != expected:
            pass

    client = scene.service.client
    run = await scene.create("t", delay=60)
    await reaches({'waiting{kind="claimers"}': 1})  # the server itself
    request = worker_service_pb2.ClaimRunRequest(worker_id="w", graphs=["remote"])
    request.wait.seconds = 30
    waiting = [
        scene.workers.ClaimRun(request),
        asyncio.ensure_future(client.runs.join("t", run)),
        asyncio.ensure_future(client.runs.join("t", run)),
        *(asyncio.ensure_future(anext(client.runs.watch("t", run, after_sequence=1))) for _ in range(2)),
        asyncio.ensure_future(anext(client.threads.watch("t", after_sequence=1))),
    ]
    await reaches(
        {'waiting{kind="claimers"}': 2, 'waiting{kind="joiners"}': 2, 'waiting{kind="watchers"}': 3},
    )
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await reaches({'waiting{kind="claimers"}': 1})
