"""A history in which everything happens once, recorded from a server, with a worker by hand who does what is told.

Each of its calls has a label, by which tests find it.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.robustness.history.history import History, Json, read
from tests.robustness.history.recorder import Recorder
from tests.robustness.round import going_on
from tests.robustness.traffic.client import Caller, Scene
from tests.robustness.traffic.watcher import Watcher, channel
from tests.support.graphs import steps_of
from tests.support.server import Service, said
from tests.support.worker import GRAPH, Held, claimed, scene


class Teller:
    def __init__(self, service: Service, recorder: Recorder) -> None:
        self.service = service
        self.caller = Caller(1, service.client, Scene(["h"], recorder), "story")
        self.runs: dict[str, str] = {}

    async def call(self, label: str, name: str, work: Awaitable[Any], **args: Any) -> Any:
        return await self.caller.call(name, "h", {"label": label, **args}, work)

    async def create(self, label: str, strategy: Any = "enqueue", *, again: str = "") -> Any:
        tag = again or label
        args: Json = {"tag": tag, "assistant": GRAPH, "strategy": strategy, "creates": False}
        work = self.service.client.runs.create(
            "h",
            GRAPH,
            input=said(tag),
            multitask_strategy=strategy,
            metadata={"tag": tag},
            request_id=f"request-{tag}",
        )
        made = await self.call(label, "create_run", work, **args)
        if made is not None:
            self.runs[tag] = made["run_id"]
        return made

    async def get(self, label: str, run: str) -> None:
        run_id = self.runs[run]
        await self.call(label, "get_run", self.service.client.runs.get("h", run_id), run_id=run_id)

    async def join(self, label: str, run: str) -> None:
        run_id = self.runs[run]
        await self.call(label, "join", self.service.client.runs.join("h", run_id), run_id=run_id)

    async def cancel(self, label: str, run: str, action: Any) -> None:
        run_id = self.runs[run]
        work = self.service.client.runs.cancel("h", run_id, action=action)
        await self.call(label, "cancel", work, run_id=run_id, action=action)

    async def state(self, label: str) -> None:
        await self.call(label, "get_state", self.service.client.threads.get_state("h"), step=None)

    async def thread(self, label: str) -> None:
        await self.call(label, "get_thread", self.service.client.threads.get("h"))

    async def list(self, label: str) -> None:
        await self.call(label, "list_runs", self.caller.all_runs("h"))

    async def states(self, label: str) -> None:
        await self.call(label, "list_states", self.caller.newest_states("h", 5), most=5)

    async def by_hand(self, label: str) -> None:
        work = self.service.client.threads.update_state("h", {"by hand": label})
        await self.call(label, "update_state", work, tag=label)

    async def update(self, label: str) -> None:
        work = self.service.client.threads.update("h", metadata={"tag": label})
        await self.call(label, "update_thread", work, tag=label)

    async def create_thread(self, label: str) -> None:
        await self.call(label, "create_thread", self.service.client.threads.create("h"))

    async def claim(self) -> Held:
        return await claimed(self.service)

    async def finish(self, held: Held, made: int = 0) -> None:
        for number in range(made + 1, steps_of(held.run.run_id) + 1):
            await held.commit(f"{held.run.run_id} {number}")
        await held.succeed()


async def told(teller: Teller) -> None:
    await teller.create_thread("made")
    await _one_alone(teller)
    await _interrupted_and_rolled_back(teller)
    await _cancelled(teller)
    await _settings_and_records(teller)
    await _in_line(teller)


async def _one_alone(teller: Teller) -> None:
    await teller.create("a")
    await teller.get("a waits", "a")
    held = await teller.claim()
    await teller.get("a runs", "a")
    await teller.state("state while a runs")
    await teller.create("busy", "reject")
    await teller.by_hand("busy by hand")
    await teller.thread("thread while a runs")
    await teller.finish(held)
    await teller.join("a joined", "a")
    await teller.get("a ended", "a")
    await teller.thread("thread after a")
    await teller.state("state after a")


async def _interrupted_and_rolled_back(teller: Teller) -> None:
    await teller.create("b", "reject")
    held = await teller.claim()
    await held.commit(f"{held.run.run_id} 1")
    await teller.state("state while b runs")
    await teller.create("c")
    await teller.create("d", "interrupt")
    await held.release()
    await teller.join("b joined", "b")
    await teller.get("c ended", "c")
    await teller.state("state after b")
    held = await teller.claim()
    await held.commit(f"{held.run.run_id} 1")
    await teller.state("state while d runs")
    await teller.create("e")
    await teller.list("runs while d runs")
    await teller.create("f", "rollback")
    await held.release()
    await teller.get("d gone", "d")
    await teller.state("state after d")
    await teller.states("states after d")
    await teller.finish(await teller.claim())
    await teller.join("f joined", "f")


async def _cancelled(teller: Teller) -> None:
    await teller.create("g")
    await teller.create("g again", again="g")
    await teller.cancel("g cancelled", "g", "interrupt")
    await teller.cancel("g cancelled again", "g", "rollback")
    await teller.create("i", "reject")
    held = await teller.claim()
    await held.commit(f"{held.run.run_id} 1")
    await teller.state("state while i runs")
    await teller.cancel("i cancelled", "i", "rollback")
    await held.release()
    await teller.state("state after i")


async def _settings_and_records(teller: Teller) -> None:
    await teller.update("first")
    await teller.update("second")
    await teller.thread("thread after second")
    await teller.by_hand("by hand")
    await teller.state("state after by hand")
    runs = teller.service.client.runs
    await teller.call("a deleted", "delete_run", runs.delete("h", teller.runs["a"]), run_id=teller.runs["a"])
    await teller.get("a gone", "a")
    await teller.list("runs without a")


async def _in_line(teller: Teller) -> None:
    await teller.create("j")
    await teller.create("k")
    held = await teller.claim()
    await held.fail()
    await teller.get("k waits", "k")
    held = await teller.claim()
    await teller.create("l")
    joining = asyncio.create_task(teller.join("k joined", "k"))
    await asyncio.gather(*(teller.get("k runs", "k") for _ in range(3)))
    deleting = teller.service.client.threads.delete("h")
    await teller.call("deleted", "delete_thread", deleting)
    await joining
    await teller.thread("no thread")
    await teller.create_thread("made anew")
    await teller.create("m")
    await teller.finish(await teller.claim())
    await teller.join("m joined", "m")
    await teller.list("runs anew")
    await teller.state("state anew")
    await teller.by_hand("the end")


async def record(folder: Path) -> History:
    recorder = Recorder(folder / "history.jsonl")
    async with scene(folder / "story.db", stop_grace=60, max_attempts=3) as service, AsyncExitStack() as stack:
        watching = await stack.enter_async_context(channel(service.app.address))
        watcher = Watcher("h", watching, recorder)
        async with going_on([watcher.run]):
            await told(Teller(service, recorder))
            await watcher.until_told_of("the end")
    recorder.note("finished")
    recorder.close()
    return read(folder / "history.jsonl")
