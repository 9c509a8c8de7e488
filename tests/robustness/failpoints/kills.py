"""Trouble for a server and its workers, one after the other: killed, stopped past their lease, told to leave."""

import asyncio
import random
import signal
from collections import Counter
from typing import Final

from tests.robustness.traffic.client import Scene
from tests.support.worker_process import Child, ServerCluster

LEASE: Final = 1.0
CREW: Final = (2, 2, 1)
"""Workers of each process."""

SLOTS: Final = 4


class Trouble:
    def __init__(self, place: ServerCluster, scene: Scene, seed: str) -> None:
        self.place = place
        self.scene = scene
        self.draw = random.Random(f"{seed} trouble")
        self.done: Counter[str] = Counter()
        self.crews: list[Child] = []
        self._serving = asyncio.Lock()

    async def begin(self) -> None:
        self.crews = [await self.crew(size) for size in CREW]

    async def crew(self, size: int) -> Child:
        return await self.place.child("tests.robustness.traffic.workers", self.place.address, str(size), str(SLOTS))

    async def work(self) -> None:
        while not self.scene.over.is_set():
            await self.scene.pause(self.draw.uniform(0.3, 1.2))
            what = self.draw.choices(("kill server", "stop", "kill", "leave"), (2, 3, 4, 2))[0]
            victim = self.draw.randrange(len(CREW))
            if self.scene.over.is_set():
                return
            if what == "kill server":
                await self.kill_server()
            elif what == "stop":
                await self.stop(victim, self.draw.uniform(1, 1.6) * LEASE)
            else:
                await self.replace(victim, leaves=what == "leave")

    async def kill_server(self) -> None:
        self.done["servers killed"] += 1
        async with self._serving:
            await self.place.server.end(signal.SIGKILL)
            self.scene.recorder.note("server killed")
            await self.place.serve(LEASE)

    async def revive_server(self) -> None:
        """Start it anew whenever it has died of itself."""
        while True:
            server = self.place.server
            await server.gone()
            async with self._serving:
                if self.place.server is server:
                    self.done["servers that died"] += 1
                    self.scene.recorder.note("server killed")
                    await self.place.serve(LEASE)

    async def stop(self, victim: int, seconds: float) -> None:
        """Awake again, they go on with what others may have taken over by then."""
        self.done["workers stopped past their lease"] += CREW[victim]
        self.crews[victim].send(signal.SIGSTOP)
        await self.scene.pause(seconds)
        self.crews[victim].send(signal.SIGCONT)

    async def replace(self, victim: int, *, leaves: bool) -> None:
        self.done["workers told to leave" if leaves else "workers killed"] += CREW[victim]
        self.crews[victim].send(signal.SIGTERM if leaves else signal.SIGKILL)
        await self.crews[victim].gone()
        self.crews[victim] = await self.crew(CREW[victim])
