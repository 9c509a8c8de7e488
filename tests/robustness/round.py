"""One round: a fresh server with a few hot threads, callers, watchers and trouble, until all is brought to rest.

Everything that is drawn comes of the seed and the round's number.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from doubletext import Client, NotFound
from tests.robustness.failpoints.kills import LEASE, Trouble
from tests.robustness.history.recorder import Recorder
from tests.robustness.traffic.client import ASSISTANTS, Caller, Remover, Scene
from tests.robustness.traffic.poison import Poisoner
from tests.robustness.traffic.watcher import Watcher, channel
from tests.robustness.validate.disk import Disk
from tests.support.worker_process import ServerCluster, server_cluster

CALLERS: Final = 16
THREADS: Final = 8
SETTLE_SECONDS: Final = 60
TRAFFIC: Final = Path(__file__).parent / "traffic"
STROLLING: Final = ("--graphs", f"{TRAFFIC / 'graphs.py'}:strolling")
POISON: Final = tuple(
    part for name in ("poison", "innocent") for part in ("--graphs", f"{TRAFFIC / 'poison.py'}:{name}")
)


@dataclass
class Tally:
    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    harm: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    innocents: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        for mine, more in zip(self._counters(), other._counters(), strict=True):
            mine.update(more)
        self.looks += other.looks
        self.wrong += other.wrong

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.calls, self.refused, self.unknown, self.harm, self.events, self.innocents

    def lines(self) -> list[str]:
        names = ("calls", "refused", "unknown outcomes", "harm done", "events", "innocent runs")
        told = [
            f"{name} {sum(counts.values())}: " + ", ".join(f"{key} {count}" for key, count in sorted(counts.items()))
            for name, counts in zip(names, self._counters(), strict=True)
        ]
        return [*told, f"looks at the disk {self.looks}", f"violations {len(self.wrong)}"]


async def play(seed: int, number: int, seconds: float, folder: Path, *, poison: bool = False) -> Tally:
    """Play a round; the history is in `history.jsonl` and the database in `soak.db` then.

    poison  graphs run beside it that exit, fork, block and crash, in the server and in a worker
    """
    recorder = Recorder(folder / "history.jsonl")
    try:
        graphs = (*STROLLING, *POISON) if poison else STROLLING
        async with server_cluster(folder / "soak.db", LEASE, *graphs) as place:
            made = Round(f"{seed} {number}", place, recorder, poison=poison)
            await made.play(seconds)
            return made.tally()
    finally:
        recorder.close()


class Round:
    def __init__(self, seed: str, place: ServerCluster, recorder: Recorder, *, poison: bool) -> None:
        self.seed = seed
        self.poison = poison
        self.innocents: Counter[str] = Counter()
        self.place = place
        self.recorder = recorder
        self.scene = Scene([f"t{number}" for number in range(THREADS)], recorder)
        self.trouble = Trouble(place, self.scene, seed)
        self.disk = Disk(place.db)
        self.wrong: list[str] = []

    async def play(self, seconds: float) -> None:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(self.place.address, retry_for=0))
            watching = await stack.enter_async_context(channel(self.place.address))
            await self.set_up(Caller(0, client, self.scene, self.seed))
            watchers = {thread: Watcher(thread, watching, self.recorder) for thread in self.scene.threads}
            remover = Remover(CALLERS + 1, client, self.scene, self.seed)
            remover.watchers = watchers
            async with going_on([watcher.run for watcher in watchers.values()]):
                callers = [Caller(number, client, self.scene, self.seed) for number in range(1, CALLERS + 1)]
                works = [caller.work for caller in (*callers, remover)]
                if self.poison:
                    works.append(await stack.enter_async_context(self.poisoner()))
                at_work = [asyncio.create_task(work()) for work in (*works, self.trouble.work, self.look_on)]
                try:
                    await asyncio.wait(at_work, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
                    self.scene.over.set()
                    await asyncio.gather(*at_work)
                finally:
                    for task in at_work:
                        task.cancel()
                await self.come_to_rest(Caller(CALLERS + 2, client, self.scene, self.seed), watchers)
        self.disk.look_at_rest()

    @asynccontextmanager
    async def poisoner(self) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
        async with Client(self.place.address, retry_for=120) as client:  # the server dies again and again
            poisoner = Poisoner(client, self.scene, self.trouble, self.seed)
            yield poisoner.work
        self.innocents.update(poisoner.ends)
        self.wrong += poisoner.wrong

    async def set_up(self, caller: Caller) -> None:
        for assistant_id, settings in ASSISTANTS.items():
            made: Any = caller.client.assistants.create(assistant_id=assistant_id, **settings)
            await caller.call("create_assistant", "", {"assistant_id": assistant_id, **settings}, made)
        for thread in self.scene.threads:
            await caller.create_thread(thread)
        await self.trouble.begin()

    async def look_on(self) -> None:
        while not self.scene.over.is_set():
            await self.scene.pause(2)
            await asyncio.to_thread(self.disk.look)

    async def come_to_rest(self, caller: Caller, watchers: dict[str, Watcher]) -> None:
        """Wait until every run has ended and every watcher was told, then ask for everything once more."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                for thread, watcher in watchers.items():
                    await self.end_of(caller, thread, watcher)
        except TimeoutError:
            self.wrong.append("there are runs that do not end, or events that are not told")
        self.recorder.note("finished")

    async def end_of(self, caller: Caller, thread: str, watcher: Watcher) -> None:
        runs, threads = caller.client.runs, caller.client.threads
        try:
            async for run in runs.list(thread, statuses=["pending", "running"]):
                await caller.call("join", thread, {"run_id": run["run_id"]}, runs.join(thread, run["run_id"]))
            await threads.get(thread)
        except NotFound:
            return
        tag = caller.tag()
        await caller.call("update_state", thread, {"tag": tag}, threads.update_state(thread, {"by hand": tag}))
        await watcher.until_told_of(tag)
        await caller.call("list_runs", thread, {}, caller.all_runs(thread))
        await caller.call("get_thread", thread, {}, threads.get(thread))
        await caller.call("get_state", thread, {"step": None}, threads.get_state(thread))
        await caller.call("list_states", thread, {"most": 5}, caller.newest_states(thread, 5))

    def tally(self) -> Tally:
        recorded = self.recorder
        return Tally(
            recorded.calls,
            recorded.refused,
            recorded.unknown,
            self.trouble.done,
            recorded.events,
            self.innocents,
            self.disk.looks,
            [*self.disk.wrong, *self.wrong],
        )


@asynccontextmanager
async def going_on(works: list[Any]) -> AsyncIterator[None]:
    """Run these beside what is inside; they stop with it. One that fails makes it fail."""
    over = asyncio.Event()
    tasks = [asyncio.create_task(work(over)) for work in works]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)
