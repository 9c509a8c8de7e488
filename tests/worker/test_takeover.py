"""Workers and servers as processes that are stopped, killed and woken: who goes on, and that nothing happens twice."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from doubletext import Client, RunRolledBack
from doubletext.types import CreatedRun
from doubletext_server.clock import system_clock
from tests.service import said
from tests.worker.checker import judge
from tests.worker.processes import Yard, yard
from tests.worker.record import Record, read, reading

STOP, WAKE, KILL, TERM = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL, signal.SIGTERM
CALLS: Final = ("commit", "publish", "beat", "watch", "fail", "finish", "release")


async def say(client: Client, yard: Yard, text: str, strategy: Any = "enqueue", **more: Any) -> CreatedRun:
    assistant = more.pop("assistant", "counting")
    given = {**said(text), "gate": yard.gate.port, **more}
    return await client.runs.create("t", assistant, input=given, multitask_strategy=strategy)


async def assistant(client: Client, name: str = "counting", **options: Any) -> None:
    """The assistant, before any worker makes it; and the thread `t`."""
    await client.assistants.create(name, assistant_id=name, **options)
    await client.threads.create("t")


async def contents(client: Client) -> list[str]:
    state = await client.threads.get_state("t")
    return [message["content"] for message in state["values"].get("messages", [])]


def record(db: Path) -> Record:
    """The thread `t` as it is on disk, found good."""
    with reading(db) as connection:
        found = read(connection, "t")
    assert found is not None
    assert judge(found) == []
    return found


def changes(record: Record, run_id: str) -> list[str]:
    return [event.change[1] for event in record.events if event.change and event.run_id == run_id]


def time_of(record: Record, run_id: str, nth_start: int) -> int:
    starts = [e.time for e in record.events if e.run_id == run_id and e.change and e.change[1] == "running"]
    return starts[nth_start - 1]


async def test_every_call_of_a_worker_that_was_stopped_past_its_lease_is_refused(tmp_path: Path) -> None:
    async with yard(tmp_path / "y.db") as place, Client(place.address) as client:
        await assistant(client)
        run = await say(client, place, "a")
        first, second = await asyncio.gather(place.hand(), place.hand())
        assert await first.told("claim") == {"run_id": run["run_id"], "attempt": 1, "step": 1}
        assert await first.told("a 1") == {"reason": "ok"}
        first.send(STOP)
        assert await second.told("claim") == {"run_id": run["run_id"], "attempt": 2, "step": 2}
        first.send(WAKE)
        before = record(place.db)
        lost = {"code": "FAILED_PRECONDITION", "reason": "LEASE_LOST", "run_id": run["run_id"], "epoch": "1"}
        for call in CALLS:
            assert await first.told(call) == {**lost, "current_epoch": "2", "cause": "CLAIMED_AGAIN"}, call
        assert record(place.db) == before
        assert await second.told("a 2") == {"reason": "ok"}
        assert await second.told("finish") == {"reason": "ok"}
        for call in CALLS:
            assert await first.told(call) == {**lost, "current_epoch": "2", "cause": "SUCCESS"}, call
        assert changes(record(place.db), run["run_id"]) == ["pending", "running", "pending", "running", "success"]
        assert await contents(client) == ["a", "a 1", "a 2"]


async def test_a_python_worker_that_was_stopped_past_its_lease_goes_on_with_other_runs(tmp_path: Path) -> None:
    async with yard(tmp_path / "y.db") as place, Client(place.address) as client:
        await assistant(client)
        first = await place.worker()
        run = await say(client, place, "a", stops=["1.2"])
        await place.gate.reached("a 1.2")
        first.send(STOP)
        second = await place.worker()
        ended = (await client.runs.join("t", run["run_id"]))["run"]
        assert (ended["status"], ended["attempt"]) == ("success", 2)
        first.send(WAKE)
        place.gate.open("a 1.2")
        await first.says("no longer ours")
        second.send(TERM)
        assert await second.gone() == 0
        after = await say(client, place, "b")
        assert (await client.runs.join("t", after["run_id"]))["run"]["status"] == "success"
        assert changes(record(place.db), run["run_id"]) == ["pending", "running", "pending", "running", "success"]
        assert await contents(client) == ["a", "a 1", "a 2", "a 3", "b", "b 1", "b 2", "b 3"]


async def test_a_killed_workers_run_is_taken_over_within_two_leases_and_its_line_keeps_its_order(
    tmp_path: Path,
) -> None:
    lease = 2
    async with yard(tmp_path / "y.db", lease) as place, Client(place.address) as client:
        await assistant(client)
        first = await place.worker()
        runs = [await say(client, place, text, stops=["1.2"] if text == "a" else []) for text in "abc"]
        await place.gate.reached("a 1.2")
        second = await place.worker()
        await second.says("claiming")
        killed = system_clock()
        await first.kill()
        ends = [(await client.runs.join("t", run["run_id"]))["run"] for run in runs]
        assert [(end["status"], end["attempt"]) for end in ends] == [("success", 2), ("success", 1), ("success", 1)]
        assert await contents(client) == [
            line for text in "abc" for line in (text, *(f"{text} {n}" for n in (1, 2, 3)))
        ]
        found = record(place.db)
        assert 0 < time_of(found, runs[0]["run_id"], 2) - killed < 2 * lease * 1_000_000
        assert time_of(found, runs[1]["run_id"], 1) < time_of(found, runs[2]["run_id"], 1)


async def test_a_run_that_kills_its_worker_each_time_ends_and_frees_its_thread(tmp_path: Path) -> None:
    async with yard(tmp_path / "y.db") as place, Client(place.address) as client:
        await assistant(client, "kills", max_attempts=2)
        workers = [await place.worker("kills", "counting") for _ in range(3)]
        for worker in workers:
            await worker.says("claiming")
        deadly = await say(client, place, "a", assistant="kills")
        queued = await say(client, place, "b")
        ended = (await client.runs.join("t", deadly["run_id"]))["run"]
        assert (ended["status"], ended["reason"], ended["attempt"]) == ("error", "MAX_ATTEMPTS", 2)
        assert (await client.runs.join("t", queued["run_id"]))["run"]["status"] == "success"
        assert sorted(worker.process.returncode or 0 for worker in workers) == [-KILL, -KILL, 0]
        assert changes(record(place.db), deadly["run_id"]) == ["pending", "running", "pending", "running", "error"]


async def test_a_killed_server_finds_its_workers_at_their_runs(tmp_path: Path) -> None:
    """The same attempts go on with the same leases: nothing is executed again."""
    async with yard(tmp_path / "y.db", lease=20) as place:
        async with Client(place.address) as client:
            await assistant(client)
            worker = await place.worker()
            run = await say(client, place, "a", stops=["1.1", "1.2"])
            queued = await say(client, place, "b")
            await place.gate.reached("a 1.1")
            await place.server.end(KILL)
        place.gate.open("a 1.1")  # its next step finds no server
        await worker.says("CommitStep")
        await place.serve()
        async with Client(place.address) as client:
            await place.gate.reached("a 1.2")
            place.gate.open("a 1.2")
            for each in (run, queued):
                ended = (await client.runs.join("t", each["run_id"]))["run"]
                assert (ended["status"], ended["attempt"]) == ("success", 1)
            assert await contents(client) == ["a", "a 1", "a 2", "a 3", "b", "b 1", "b 2", "b 3"]
            assert changes(record(place.db), run["run_id"]) == ["pending", "running", "success"]
            worker.send(TERM)
            assert await worker.gone() == 0


async def test_a_lease_that_ran_out_while_the_server_was_gone_is_refused(tmp_path: Path) -> None:
    async with yard(tmp_path / "y.db") as place:
        async with Client(place.address) as client:
            await assistant(client)
            run = await say(client, place, "a")
            first = await place.hand()
            await first.told("claim")
            await first.told("a 1")
            await place.server.end(KILL)
        await place.serve()
        second = await place.hand()
        assert (await second.told("claim"))["attempt"] == 2
        for call in CALLS:
            answer = await first.told(call)
            while answer["reason"] == "UNAVAILABLE":  # until it has connected anew
                answer = await first.told(call)
            assert (answer["reason"], answer["cause"]) == ("LEASE_LOST", "CLAIMED_AGAIN")
        assert changes(record(place.db), run["run_id"]) == ["pending", "running", "pending", "running"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_worker_that_dies_before_it_acknowledges_a_stop_leaves_nothing_to_do_again(
    tmp_path: Path, strategy: str
) -> None:
    async with yard(tmp_path / "y.db") as place, Client(place.address) as client:
        await assistant(client, stop_grace=3600)
        first = await place.worker()
        run = await say(client, place, "a", stops=["1.2"])
        await place.gate.reached("a 1.2")
        first.send(STOP)
        heir = await say(client, place, "b", strategy)
        await first.kill()
        await place.worker()
        ended = (await client.runs.join("t", heir["run_id"]))["run"]
        assert (ended["status"], ended["attempt"]) == ("success", 1)
        kept = ["a", "a 1", "a 2"] if strategy == "interrupt" else []
        assert await contents(client) == [*kept, "b", "b 1", "b 2", "b 3"]
        end = "interrupted" if strategy == "interrupt" else "deleted"
        assert changes(record(place.db), run["run_id"]) == ["pending", "running", end]
        if strategy == "rollback":
            with pytest.raises(RunRolledBack):
                await client.runs.get("t", run["run_id"])


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_server_that_dies_between_stop_and_acknowledgement_forgets_neither(
    tmp_path: Path, strategy: str
) -> None:
    async with yard(tmp_path / "y.db", lease=20) as place:
        async with Client(place.address) as client:
            await assistant(client, stop_grace=3600)
            worker = await place.worker()
            run = await say(client, place, "a", stops=["1.2"])
            await place.gate.reached("a 1.2")
            worker.send(STOP)
            heir = await say(client, place, "b", strategy)
            await place.server.end(KILL)
        await place.serve()
        async with Client(place.address) as client:
            waits = await client.runs.get("t", heir["run_id"])
            assert (waits["status"], waits["queue_position"]) == ("pending", 1)
            woken = system_clock()
            worker.send(WAKE)
            await worker.says("stopped")  # it is told by the server that came back
            ended = (await client.runs.join("t", heir["run_id"]))["run"]
            assert (ended["status"], ended["attempt"]) == ("success", 1)
            found = record(place.db)
            assert time_of(found, heir["run_id"], 1) > woken
            end = "interrupted" if strategy == "interrupt" else "deleted"
            assert changes(found, run["run_id"]) == ["pending", "running", end]
