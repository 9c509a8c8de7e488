"""Graphs that harm the process they run in, in the server and in a worker, and innocent ones beside them.

python -m tests.robustness.traffic.poison HOST:PORT      a worker of those in workers
"""

import asyncio
import multiprocessing
import os
import random
import signal
import sys
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from doubletext import Client, Context, Graph, Worker
from tests.robustness.failpoints.kills import LEASE, Trouble
from tests.robustness.traffic.client import Scene
from tests.support.worker_process import Child

Steps = AsyncIterator[dict[str, Any]]
FORK: Final = multiprocessing.get_context("fork")
LONGEST_RUN: Final = 120
"""Seconds in which each must have ended, all the harm included."""


async def _leave() -> None:
    sys.exit(3)


async def exit_in_a_task() -> None:
    await asyncio.gather(_leave(), asyncio.sleep(1))


async def exit_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0.1)


async def fork() -> None:
    child = FORK.Process(target=sys.exit)
    child.start()
    child.terminate()
    await asyncio.to_thread(child.join)


async def block() -> None:
    threading.Event().wait(1.5 * LEASE)


async def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def abort() -> None:
    os._exit(1)


HARMS: Final[dict[str, Callable[[], Any]]] = {
    harm.__name__: harm for harm in (exit_in_a_task, exit_in_a_callback, fork, block, crash, abort)
}


async def _poison(ctx: Context) -> Steps:
    yield {"begun": True}
    await HARMS[ctx.input["harm"]]()
    yield {"done": True}


async def _innocent(ctx: Context) -> Steps:
    for number in range(3):
        await asyncio.sleep(0.1)
        yield {"number": number}


poison = Graph(_poison, "poison")
innocent = Graph(_innocent, "innocent")
poison_in_worker = Graph(_poison, "poison_in_worker")
innocent_in_worker = Graph(_innocent, "innocent_in_worker")
IN_WORKERS: Final = (poison_in_worker, innocent_in_worker)


class Poisoner:
    """Starts runs that do harm, one after the other, and revives what they end; innocents run beside them."""

    def __init__(self, client: Client, scene: Scene, trouble: Trouble, seed: str) -> None:
        self.client = client
        self.scene = scene
        self.trouble = trouble
        self.draw = random.Random(f"{seed} poison")
        self.ends: Counter[str] = Counter()
        self.culprits: list[str] = []
        self.wrong: list[str] = []

    async def work(self) -> None:
        for graph in IN_WORKERS:
            await self.client.assistants.create(graph.name, assistant_id=graph.name)
        async with asyncio.TaskGroup() as tasks:
            reviving = [tasks.create_task(work()) for work in (self.trouble.revive_server, self.revive_worker)]
            async with asyncio.TaskGroup() as callers:
                callers.create_task(self.harm())
                for name in ("innocent", "innocent", "innocent_in_worker", "innocent_in_worker"):
                    callers.create_task(self.suffer(name))
            for task in reviving:
                task.cancel()

    async def harm(self) -> None:
        while not self.scene.over.is_set():
            graph, harm = self.draw.choice(("poison", "poison_in_worker")), self.draw.choice([*HARMS])
            self.culprits.append(await self.start(graph, {"harm": harm}))
            self.trouble.done[f"{harm} in {'a worker' if graph == 'poison_in_worker' else 'the server'}"] += 1
            await self.scene.pause(self.draw.uniform(0.5, 3))
        for run_id in self.culprits:
            if (end := await self.end_of(run_id)) == "not ended":
                self.wrong.append(f"the culprit {run_id}: {end}")

    async def suffer(self, graph: str) -> None:
        while not self.scene.over.is_set():
            run_id = await self.start(graph, {})
            end = await self.end_of(run_id)
            self.ends[end] += 1
            if end != "success":
                self.wrong.append(f"the innocent {graph} {run_id}: {end}")

    async def start(self, graph: str, given: dict[str, Any]) -> str:
        """A run on a thread of its own."""
        run = await self.client.runs.create(str(uuid.uuid4()), graph, input=given, if_thread_not_exists="create")
        return run["run_id"]

    async def end_of(self, run_id: str) -> str:
        try:
            run = (await asyncio.wait_for(self.client.runs.join(None, run_id), LONGEST_RUN))["run"]
        except TimeoutError:
            return "not ended"
        return f"{run['status']} {run['reason']}".strip()

    async def revive_worker(self) -> None:
        while True:
            worker: Child = await self.trouble.place.child(__name__, self.trouble.place.address)
            try:
                await worker.gone()
            finally:
                await worker.kill()
            self.trouble.done["workers that died"] += 1


if __name__ == "__main__":
    asyncio.run(Worker(sys.argv[1], graphs=[*IN_WORKERS], slots=8, drain=0.1).run())
