"""A server that is measured, its clock standing still, and the hand of a worker that plays on it."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from doubletext.v1 import worker_service_pb2
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from doubletext_statemachine import commands
from tests.support.clock import ManualClock
from tests.support.server import Service, said, serving

SECOND: Final = 1_000_000
LEASE: Final = 15


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if not line.startswith("#") and "_created" not in name:
            yield name, float(value)


@dataclass
class Scene:
    """A server whose clock stands still, and the hand of a worker whose graph is `remote`."""

    service: Service
    clock: ManualClock

    async def text(self) -> str:
        assert self.service.app.metrics_address is not None
        return await asyncio.to_thread(scrape, self.service.app.metrics_address)

    async def told(self, *names: str) -> dict[str, float]:
        """All samples of these metrics that are not 0, buckets aside; without `doubletext_`."""
        wanted = re.compile(rf"doubletext_(({'|'.join(names)})(_sum|_count)?(\{{.*\}})?)")
        found = ((wanted.fullmatch(name), value) for name, value in samples(await self.text()))
        return {match[1]: value for match, value in found if match and value}

    async def create(self, thread_id: str, strategy: Any = None, *, delay: float | None = None, **more: Any) -> str:
        run = await self.service.client.runs.create(
            thread_id,
            more.pop("assistant", "remote"),
            input=said("hello"),
            multitask_strategy=strategy,
            if_thread_not_exists="create",
            delay=delay,
            **more,
        )
        return run["run_id"]

    async def claim(self, run_id: str) -> Any:
        """Claim the next run, which must be this one; its lease."""
        request = worker_service_pb2.ClaimRunRequest(worker_id="w", graphs=["remote"])
        request.wait.seconds = 30
        assignment = (await self.workers.ClaimRun(request)).assignment
        assert assignment.run.run_id == run_id
        return assignment.lease

    async def finish(self, lease: Any, error: str = "") -> None:
        request = worker_service_pb2.FinishRunRequest(lease=lease)
        if error:
            request.error.type = error
        else:
            request.success.SetInParent()
        await self.workers.FinishRun(request)

    async def release(self, lease: Any) -> None:
        await self.workers.ReleaseRun(worker_service_pb2.ReleaseRunRequest(lease=lease))

    async def tick(self, thread_id: str) -> None:
        """What the thread's timer does once it fires."""
        await self.service.app.changes.change(commands.Tick(thread_id))

    def passes(self, seconds: float) -> None:
        self.clock.now += int(seconds * SECOND)

    @property
    def workers(self) -> Any:
        return WorkerServiceStub(self.service.channel)


@asynccontextmanager
async def played(db: Path, clock: ManualClock, **settings: Any) -> AsyncIterator[Scene]:
    async with serving(db, (), clock, lease=LEASE, metrics="127.0.0.1:0", **settings) as service:
        yield Scene(service, clock)
