"""A storm of messages on few threads: steering, merging, edits, stops, workers that come and go, and servers killed.

At the end each input that was accepted must be in exactly one place: once in the state, if the run that it went to has
started and was not rolled back; nowhere otherwise.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from doubletext import Client, DoubletextError, RunRolledBack, Worker, graph
from doubletext.graph import Context
from doubletext_server.store.check import check
from tests.support.server import said
from tests.support.server_process import Process

THREADS: Final = ("a", "b", "c")
CALLERS: Final = 6
POLICIES: Final[tuple[Any, ...]] = (None, None, "merge", "keep")
MESSAGES: Final[list[Any]] = 3 * ["steer"] + 3 * ["enqueue"] + ["interrupt", "rollback", "join", "reject"]


@graph
async def listener(ctx: Context) -> AsyncIterator[Any]:
    """Makes a few steps, and takes what is said meanwhile before each of them."""
    draw = random.Random(ctx.run["run_id"])
    for number in range(draw.randrange(1, 5)):
        await asyncio.sleep(draw.uniform(0, 0.03))
        heard = await ctx.steered()
        yield {"messages": [{"role": "assistant", "content": f"{number}: {len(heard)}"}]}


class Storm:
    """tags     of the runs that were accepted, what each said
    unsure   what was said by calls that failed
    steered  how many runs were absorbed, or merged, that came with STEER
    """

    def __init__(self, db: Path, seed: int, seconds: float) -> None:
        self.db = db
        self.draw = random.Random(seed)
        self.seconds = seconds
        self.tags: dict[str, str] = {}
        self.unsure: set[str] = set()
        self.kills = self.edits = self.steered = 0
        self.over = asyncio.Event()

    async def play(self) -> list[str]:
        """Returns what is wrong at the end."""
        server = await Process(self.db, "--lease", "2").start()
        self.address = server.address
        try:
            async with Client(server.address) as client:
                await client.assistants.create("listener", assistant_id="listener", stop_grace=0.2, max_attempts=20)
                for thread in THREADS:
                    await client.threads.create(thread, max_queued_runs=20)
            tasks = [asyncio.create_task(self._call(number)) for number in range(CALLERS)]
            tasks.append(asyncio.create_task(self._edit()))
            tasks += [asyncio.create_task(self._work(number)) for number in range(2)]
            server = await self._kill(server)
            self.over.set()
            await asyncio.gather(*tasks[: CALLERS + 1])
            wrong = await self._settled()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await server.end(signal.SIGTERM)
        return [*wrong, *check(str(self.db)).lines()]

    async def _kill(self, server: Process) -> Process:
        until = asyncio.get_running_loop().time() + self.seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, self.draw.uniform(1, 2.5)))
            await server.end(signal.SIGKILL)
            self.kills += 1
            server = await Process(self.db, "--lease", "2", "--listen", self.address).start()
        return server

    async def _call(self, number: int) -> None:
        draw, count = random.Random(f"{self.draw.random()} {number}"), 0
        async with Client(self.address, retry_for=20) as client:
            while not self.over.is_set():
                count += 1
                tag, thread, strategy = f"{number}.{count}", draw.choice(THREADS), draw.choice(MESSAGES)
                policy = draw.choice(POLICIES) if strategy in ("enqueue", "interrupt", "rollback") else None
                try:
                    run = await client.runs.create(
                        thread,
                        "listener",
                        input=said(tag),
                        metadata={"tag": tag},
                        multitask_strategy=strategy,
                        queue_policy=policy,
                        debounce=0.05 if policy == "merge" and draw.random() < 0.5 else None,
                        request_id=tag,
                    )
                    if not run["joined"]:
                        self.tags[run["run_id"]] = tag
                except DoubletextError as error:
                    if error.reason not in ("THREAD_BUSY", "QUEUE_FULL"):
                        self.unsure.add(tag)
                await asyncio.sleep(draw.uniform(0, 0.05))

    async def _edit(self) -> None:
        """Moves, edits, cancels and holds at random."""
        draw = random.Random(self.draw.random())
        async with Client(self.address, retry_for=20) as client:
            while not self.over.is_set():
                await asyncio.sleep(draw.uniform(0, 0.1))
                if not self.tags:
                    continue
                run_id, thread = draw.choice(list(self.tags)[-20:]), draw.choice(THREADS)
                with suppress(DoubletextError):
                    match draw.randrange(6):
                        case 0:
                            await client.runs.move(None, run_id, first=True)
                        case 1:
                            await client.runs.move(None, run_id, last=True)
                        case 2:
                            await client.runs.update(None, run_id, timeout=60, delay=0)
                        case 3:
                            await client.runs.cancel(None, run_id, action=draw.choice(["interrupt", "rollback"]))
                        case 4:
                            await client.threads.update(thread, held=draw.random() < 0.3)
                        case 5 if draw.random() < 0.1:
                            await client.runs.cancel_all(thread, statuses=["pending"])
                    self.edits += 1

    async def _work(self, number: int) -> None:
        """A worker that is stopped now and then, so that another one goes on with its runs."""
        while True:
            worker = Worker(self.address, graphs=[listener], drain=0, worker_id=f"w{number}")
            running = asyncio.create_task(worker.run())
            try:
                await asyncio.sleep(self.draw.uniform(0.5, 2) if not self.over.is_set() else 3600)
            finally:
                worker.stop()
                await asyncio.wait([running], timeout=5)

    async def _settled(self) -> list[str]:
        """Let all that is in flight end; then say what is wrong."""
        wrong: list[str] = []
        async with Client(self.address, retry_for=20) as client:
            for thread in THREADS:
                await client.threads.update(thread, held=False)
            async with asyncio.timeout(60):
                for thread in THREADS:
                    while (await client.threads.get(thread))["status"] == "busy":
                        pending = [run async for run in client.runs.list(thread, statuses=["pending", "running"])]
                        for run in pending:
                            with suppress(DoubletextError):
                                await client.runs.join(thread, run["run_id"])
            kept: set[str] = set()
            for thread in THREADS:
                wrong += await self._judged(client, thread, kept)
            for run_id in self.tags.keys() - kept:
                with suppress(RunRolledBack):
                    await client.runs.get(None, run_id)
                    wrong.append(f"run {run_id} is there, and on no thread")
        return wrong

    async def _judged(self, client: Client, thread: str, kept: set[str]) -> list[str]:
        messages = (await client.threads.get_state(thread))["values"].get("messages", [])
        found = Counter(message["content"] for message in messages if message["role"] == "user")
        runs = {run["run_id"]: run async for run in client.runs.list(thread)}
        kept.update(runs)
        wrong, known = [], set()
        for run in runs.values():
            tag = run["metadata"].get("tag")
            known.add(tag)
            self.steered += run["status"] == "merged" and run["multitask_strategy"] == "steer"
            taker = runs.get(run["merged_into"], run) if run["merged_into"] else run
            wanted = 1 if taker["last_step"] else 0
            if run["merged_into"] and run["merged_into"] not in runs:
                wrong.append(f"{thread}: {tag} is part of a run that is gone")
            if found[tag] != wanted:
                wrong.append(f"{thread}: {tag} ({run['status']}) is {found[tag]} times in the state, not {wanted}")
        wrong += [f"{thread}: {tag} is in the state, and no run has said it" for tag in found if tag not in known]
        return wrong
