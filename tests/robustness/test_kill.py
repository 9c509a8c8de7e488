"""kill -9, and a restart on the same file."""

import asyncio
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from doubletext import Client, DoubletextError, RunRolledBack
from doubletext.types import CreatedRun, Run
from doubletext_server.clock import system_clock
from doubletext_server.store.sqlite.store import SqliteStore
from tests.support.server import said
from tests.support.server_process import process

HERE = Path(__file__).parent / "failpoints"
DIES = ("--graphs", f"{HERE / 'graphs.py'}:dies")
KILLS = ("--graphs", f"{HERE / 'graphs.py'}:kills")


async def at_step(client: Client, run_id: str, step: int) -> None:
    """Wait until the run has made its step."""
    while (await client.runs.join(None, run_id, wait=0.02))["run"]["last_step"] < step:
        pass


async def contents(client: Client, thread_id: str) -> list[str]:
    state = await client.threads.get_state(thread_id)
    return [message["content"] for message in state["values"]["messages"]]


async def test_what_was_running_and_queued_goes_on_after_a_kill(tmp_path: Path) -> None:
    db, threads = tmp_path / "kill.db", [f"t{n}" for n in range(5)]
    created: dict[str, list[CreatedRun]] = {}
    async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
        for thread_id in threads:
            await client.threads.create(thread_id)
            created[thread_id] = [
                await client.runs.create(thread_id, "dies", input=said(text), multitask_strategy="enqueue")
                for text in ("a", "b", "c")
            ]
        await asyncio.gather(*(at_step(client, created[thread_id][0]["run_id"], 3) for thread_id in threads))
        await server.end(signal.SIGKILL)

    # Each later run hangs in its first attempt too, so there is a kill for each of the three in line.
    for turn in (1, 2):
        async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
            for thread_id in threads:
                joined = await client.runs.join(thread_id, created[thread_id][turn - 1]["run_id"])
                assert (joined["run"]["status"], joined["run"]["attempt"]) == ("success", 1)
                await at_step(client, created[thread_id][turn]["run_id"], turn * 4 + 3)
            await server.end(signal.SIGKILL)
    async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
        for thread_id in threads:
            await client.runs.join(thread_id, created[thread_id][2]["run_id"])
            # Each input once, each step once, in order.
            assert await contents(client, thread_id) == [
                line for text in "abc" for line in (text, f"{text} 1", f"{text} 2", f"{text} 3")
            ]
            assert (await client.threads.get(thread_id))["status"] == "idle"
        assert await server.end(signal.SIGTERM) == 0


async def test_a_superseded_run_does_not_come_back_after_a_kill(tmp_path: Path) -> None:
    db = tmp_path / "kill.db"
    async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
        ends: dict[str, tuple[str, str, str]] = {}
        for strategy in ("interrupt", "rollback"):
            thread_id = (await client.threads.create())["thread_id"]
            first = await client.runs.create(thread_id, "dies", input=said("a"))
            await at_step(client, first["run_id"], 3)
            second = await client.runs.create(thread_id, "dies", input=said("b"), multitask_strategy=strategy)
            ends[strategy] = (thread_id, first["run_id"], second["run_id"])
        await server.end(signal.SIGKILL)
    async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
        for _, _, second_id in ends.values():
            # The second run may or may not have started before the kill: its first attempt hangs.
            await at_step(client, second_id, 3)
        await server.end(signal.SIGKILL)
    async with process(db, *DIES) as server, Client(server.address, retry_for=0) as client:
        b = ["b", "b 1", "b 2", "b 3"]
        thread_id, first_id, second_id = ends["interrupt"]
        await client.runs.join(thread_id, second_id)
        assert await contents(client, thread_id) == ["a", "a 1", "a 2", *b]
        assert (await client.runs.get(thread_id, first_id))["status"] == "interrupted"
        thread_id, first_id, second_id = ends["rollback"]
        await client.runs.join(thread_id, second_id)
        assert await contents(client, thread_id) == b
        with pytest.raises(RunRolledBack):
            await client.runs.get(thread_id, first_id)


async def test_a_run_that_kills_its_server_each_time_ends_error_and_frees_its_thread(tmp_path: Path) -> None:
    db = tmp_path / "kill.db"
    async with process(db, *KILLS) as server, Client(server.address, retry_for=0) as client:
        await client.threads.create("t")
        deadly = await client.runs.create("t", "kills", input=said("a"), delay=0.2)
        queued = await client.runs.create("t", "echo", input=said("b"), delay=0.2)
        await server.gone()
    for _ in range(2):
        with pytest.raises((AssertionError, DoubletextError)):
            async with process(db, *KILLS) as server, Client(server.address, retry_for=0) as client:
                await client.runs.join("t", deadly["run_id"])
    async with process(db, *KILLS) as server, Client(server.address, retry_for=0) as client:
        ended = (await client.runs.join("t", deadly["run_id"]))["run"]
        assert (ended["status"], ended["reason"], ended["attempt"]) == ("error", "MAX_ATTEMPTS", 3)
        assert (await client.runs.join("t", queued["run_id"]))["run"]["status"] == "success"


async def test_nothing_that_was_answered_is_lost_by_kills_under_load(tmp_path: Path) -> None:
    """Callers of every strategy on a few threads, the server killed again and again; then the file is judged."""
    db, kills, threads = tmp_path / "kill.db", 2, 6
    answered: list[CreatedRun] = []
    for round_ in range(kills):
        async with process(db) as server, Client(server.address, retry_for=0) as client:
            callers = [asyncio.ensure_future(load(client, f"t{n}", round_, answered)) for n in range(threads)]
            enough = len(answered) + 60
            while len(answered) < enough:
                await asyncio.wait(callers, timeout=0.01)
            await server.end(signal.SIGKILL)
            await asyncio.gather(*callers, return_exceptions=True)

    async with process(db) as server, Client(server.address, retry_for=0) as client:
        ends = await asyncio.gather(*(end_of(client, run) for run in answered))
        by_id = {run["run_id"]: run for run in answered}
        for run, end in zip(answered, ends, strict=True):
            if end is None:  # rolled back: by a later run that was admitted
                continue
            assert end["status"] in ("success", "interrupted"), end
            assert end["sequence"] == run["sequence"]
        for n in range(threads):
            state = await client.threads.get_state(f"t{n}")
            told = [m["content"] for m in state["values"]["messages"] if m["role"] == "user"]
            assert len(told) == len(set(told)), "an input was applied twice"
            kept = [
                run["input"]["messages"][0]["content"]
                for run, end in zip(answered, ends, strict=True)
                if end is not None and end["status"] == "success" and end["thread_id"] == f"t{n}"
            ]
            assert set(kept) <= set(told), "an accepted message was lost"
            assert (await client.threads.get(f"t{n}"))["status"] in ("idle", "interrupted")
        assert len(by_id) == len(answered)
        await server.end(signal.SIGTERM)

    store = await SqliteStore.open(str(db), system_clock)
    for n in range(threads):
        events = await store.events(f"t{n}", 0, 1_000_000)
        assert [event.event.sequence for event in events] == list(range(1, len(events) + 1))
    await store.close()


async def load(client: Client, thread_id: str, round_: int, answered: list[CreatedRun]) -> None:
    strategies: tuple[Any, ...] = ("enqueue", "interrupt", "enqueue", "rollback", "enqueue")
    for number in range(10_000):
        answered.append(
            await client.runs.create(
                thread_id,
                "agent",
                input=said(f"{round_}.{number} in {thread_id}"),
                multitask_strategy=strategies[number % 5],
                if_thread_not_exists="create",
            )
        )


async def end_of(client: Client, run: CreatedRun) -> Run | None:
    joined: Awaitable[Any] = client.runs.join(run["thread_id"], run["run_id"])
    try:
        end: Run = (await joined)["run"]
    except RunRolledBack:
        return None
    return end
