"""Callers who do something at random. What each does, and when, comes of its seed; on which run, of what it knows."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import aclosing, suppress
from typing import Any, Final

from doubletext import Client
from tests.robustness.history.history import Json
from tests.robustness.history.recorder import Recorder
from tests.robustness.traffic.watcher import Watcher
from tests.support.server import said

# fmt: off
WEIGHTS: Final = {
    "create_run": 40, "cancel": 9, "join": 9, "get_run": 6, "list_runs": 6, "get_thread": 6, "get_state": 7,
    "list_states": 3, "update_state": 4, "update_thread": 3, "delete_run": 3, "watch_run": 2, "create_thread": 2,
}
# fmt: on
STRATEGIES: Final = ("enqueue", "enqueue", "enqueue", "interrupt", "rollback", "reject", "reject", None)
ASSISTANTS: Final[dict[str, Json]] = {
    "wandering": {"graph": "wandering", "stop_grace": 0.5, "max_attempts": 4},
    "hasty": {"graph": "wandering", "stop_grace": 0, "max_attempts": 3, "run_timeout": 0.4},
    "stroller": {"graph": "strolling", "stop_grace": 0.5, "max_attempts": 5},
}
LONGEST_CALL: Final = 15
MAX_QUEUED: Final = 8


class Scene:
    """What callers share: the threads, and the runs on them that somebody was told of."""

    def __init__(self, threads: list[str], recorder: Recorder) -> None:
        self.runs: dict[str, list[str]] = {thread: [] for thread in threads}
        self.threads = threads
        self.recorder = recorder
        self.over = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """So long, or until it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)


class Caller:
    def __init__(self, number: int, client: Client, scene: Scene, seed: str) -> None:
        self.number = number
        self.client = client
        self.scene = scene
        self.draw = random.Random(f"{seed} caller {number}")
        self._tags = 0

    async def work(self) -> None:
        while not self.scene.over.is_set():
            # Drawn before anything is looked at, so that the same seed draws the same.
            thread = self.draw.choice(self.scene.threads)
            kind = self.draw.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
            chance = random.Random(self.draw.random())
            pause = self.draw.uniform(0, 0.2)
            await self.one(kind, thread, chance)
            await self.scene.pause(pause)

    def tag(self) -> str:
        self._tags += 1
        return f"{self.number}.{self._tags}"

    async def call(self, name: str, thread: str, args: Json, work: Awaitable[Any]) -> Any:
        waiting = asyncio.wait_for(work, LONGEST_CALL)
        return await self.scene.recorder.call(self.number, name, thread, args, waiting)

    async def one(self, kind: str, thread: str, chance: random.Random) -> None:
        known = self.scene.runs[thread]
        back = int(chance.expovariate(0.4))
        if kind in ("cancel", "join", "get_run", "delete_run", "watch_run"):
            if not known:
                return
            await self.about_run(kind, thread, known[-1 - min(back, len(known) - 1)], chance)
        elif kind == "create_run":
            await self.create_run(thread, chance)
        else:
            await self.about_thread(kind, thread, chance)

    async def create_run(self, thread: str, chance: random.Random) -> None:
        tag = self.tag()
        args: Json = {
            "tag": tag,
            "assistant": chance.choice(("wandering", "hasty", "stroller", "stroller")),
            "strategy": chance.choice(STRATEGIES),
            "delay": chance.choice((0.05, 0.5, 1)) if chance.random() < 0.1 else None,
            "timeout": 0.2 if chance.random() < 0.1 else None,
            "creates": chance.random() < 0.3,
        }
        hang_up = chance.uniform(0, 0.01) if chance.random() < 0.04 else None
        again = chance.random() < 0.05
        for _ in range(3):
            work: Awaitable[Any] = self.client.runs.create(
                thread,
                args["assistant"],
                input=said(tag),
                metadata={"tag": tag},
                request_id=f"request-{tag}",
                multitask_strategy=args["strategy"],
                delay=args["delay"],
                timeout=args["timeout"],
                if_thread_not_exists="create" if args["creates"] else None,
            )
            if hang_up is not None:
                work, hang_up = asyncio.wait_for(work, hang_up), None
            made = await self.call("create_run", thread, args, work)
            if made is not None and made["run_id"] not in self.scene.runs[thread]:
                self.scene.runs[thread].append(made["run_id"])
            if not again and (made is not None or chance.random() < 0.3):
                return
            again = False

    async def about_run(self, kind: str, thread: str, run_id: str, chance: random.Random) -> None:
        runs, args = self.client.runs, {"run_id": run_id}
        named = thread if chance.random() < 0.7 else None
        match kind:
            case "cancel":
                action: Any = chance.choice(("interrupt", "rollback"))
                wait = chance.choice((None, None, 0.3))
                await self.call(
                    kind, thread, {**args, "action": action}, runs.cancel(named, run_id, action=action, wait=wait)
                )
            case "join":
                await self.call(kind, thread, args, runs.join(named, run_id, wait=chance.choice((0, 0.1, 1, 3))))
            case "get_run":
                await self.call(kind, thread, args, runs.get(named, run_id))
            case "delete_run":
                await self.call(kind, thread, args, runs.delete(named, run_id))
            case "watch_run":
                await self.call(kind, thread, args, self.watch_run(named, run_id, chance.choice((0.1, 1))))

    async def watch_run(self, thread: str | None, run_id: str, seconds: float) -> Json:
        seen: list[tuple[int, str, str | None]] = []
        ended = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), aclosing(self.client.runs.watch(thread, run_id)) as events:
                async for event in events:
                    seen.append((event["sequence"], event["kind"], event["time"]))
                ended = True
        return {"events": seen, "ended": ended}

    async def about_thread(self, kind: str, thread: str, chance: random.Random) -> None:
        threads, tag = self.client.threads, self.tag()
        match kind:
            case "create_thread":
                await self.create_thread(thread)
            case "get_thread":
                await self.call(kind, thread, {}, threads.get(thread))
            case "get_state":
                step = chance.randint(0, 30) if chance.random() < 0.3 else None
                await self.call(kind, thread, {"step": step}, threads.get_state(thread, step))
            case "list_states":
                await self.call(kind, thread, {"most": 5}, self.newest_states(thread, 5))
            case "list_runs":
                await self.call(kind, thread, {}, self.all_runs(thread))
            case "update_state":
                await self.call(kind, thread, {"tag": tag}, threads.update_state(thread, {"by hand": tag}))
            case "update_thread":
                strategy: Any = chance.choice(("unspecified", "enqueue", "interrupt", "reject"))
                args = {"tag": tag, "default_strategy": strategy}
                update = threads.update(thread, metadata={"tag": tag}, default_strategy=strategy)
                await self.call(kind, thread, args, update)

    async def create_thread(self, thread: str) -> Any:
        work = self.client.threads.create(thread, max_queued_runs=MAX_QUEUED)
        return await self.call("create_thread", thread, {}, work)

    async def newest_states(self, thread: str, most: int) -> list[Any]:
        found: list[Any] = []
        async with aclosing(self.client.threads.list_states(thread, page_size=most)) as states:  # type: ignore[type-var]
            async for state in states:
                found.append(state)
                if len(found) == most:
                    break
        return found

    async def all_runs(self, thread: str) -> list[Any]:
        """In one page, which is one reading."""
        return [run async for run in self.client.runs.list(thread, page_size=1000)]


class Remover(Caller):
    """Deletes threads, each only once its watcher has seen that life of it, and makes some of them anew."""

    watchers: dict[str, Watcher]

    async def work(self) -> None:
        while not self.scene.over.is_set():
            await self.scene.pause(self.draw.uniform(0.5, 2.5))
            thread, anew, pause = self.draw.choice(self.scene.threads), self.draw.random() < 0.5, self.draw.random() / 5
            if self.scene.over.is_set() or not await self.watchers[thread].is_up_to_date():
                continue
            await self.call("delete_thread", thread, {}, self.client.threads.delete(thread))
            await self.scene.pause(pause)
            if anew:
                await self.create_thread(thread)
