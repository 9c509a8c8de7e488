"""What calls cost, counted and not timed: hops to SQLite's threads, commits, statements, and bytes written.

A change that costs more fails here on any machine. One that costs less does too, so that the numbers stay true.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from doubletext import ThreadBusy
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.resources_pb2 import MULTITASK_STRATEGY_REJECT
from tests.support.server import Service, said, serving

FRAME: Final = 4096 + 24
"""A page of the log ahead of the database, with its header (https://www.sqlite.org/fileformat2.html#walformat)."""


@dataclass
class Meter:
    """hops    to a lane's thread, by lane
    statements  by lane, those that begin and end a transaction included
    frames  pages written to the log
    """

    service: Service
    db: Path
    hops: dict[str, int] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)
    frames: int = 0

    @property
    def _lanes(self) -> dict[str, Any]:
        store = self.service.sqlite
        return {"writer": store.writer, "rows": store.rows, "scans": store.scans}

    async def of(self, call: Callable[[], Awaitable[object]]) -> "Meter":
        """Count one call, and what follows from it."""
        self.hops, self.statements = {}, {}
        before = {name: lane.batches for name, lane in self._lanes.items()}
        size = self._log_size()
        for name, lane in self._lanes.items():
            lane._connection._conn.set_trace_callback(lambda statement, name=name: self._count(name))
        await call()
        await self.service.app.store.settled()
        for lane in self._lanes.values():
            lane._connection._conn.set_trace_callback(None)
        for name, lane in self._lanes.items():
            asked_here = name == "writer"  # `settled` is a hop too, and an empty transaction
            if hops := lane.batches - before[name] - asked_here:
                self.hops[name] = hops
        self._count("writer", -2)
        self.statements = {name: count for name, count in self.statements.items() if count}
        self.frames, rest = divmod(self._log_size() - size, FRAME)
        assert not rest
        return self

    def _count(self, lane: str, by: int = 1) -> None:
        self.statements[lane] = self.statements.get(lane, 0) + by

    def _log_size(self) -> int:
        return self.db.with_name(self.db.name + "-wal").stat().st_size


async def turn(service: Service, thread_id: str) -> str:
    run = await service.client.runs.create(thread_id, "echo", input=said("hi"))
    await service.client.runs.join(thread_id, run["run_id"])
    return run["run_id"]


@pytest.fixture
async def meter(tmp_path: Path) -> AsyncIterator[Meter]:
    db = tmp_path / "test.db"
    async with serving(db) as service:
        await service.client.assistants.create("idle", assistant_id="idle")
        await service.sqlite.writer.run(lambda connection: connection.execute("PRAGMA wal_autocheckpoint = 0"))
        await service.client.runs.create("first", "idle", input=said("hi"), if_thread_not_exists="create")
        yield Meter(service, db)


async def test_a_run_on_a_new_thread_is_one_hop_and_one_commit(meter: Meter) -> None:
    runs = meter.service.client.runs
    counted = await meter.of(lambda: runs.create("t", "idle", input=said("hi"), if_thread_not_exists="create"))
    assert counted.hops == {"writer": 1}
    # Begin; read the thread, which is not there; write thread, run, request id and event; commit.
    assert counted.statements == {"writer": 7}
    assert 0 < counted.frames <= 11


async def test_a_run_on_a_known_thread_reads_the_thread_and_its_line_first(meter: Meter) -> None:
    counted = await meter.of(lambda: meter.service.client.runs.create("first", "idle", input=said("again")))
    assert counted.hops == {"writer": 1}
    # Begin; read the thread with its line, and the request id; write thread, run, request id and event; commit.
    assert counted.statements == {"writer": 8}
    assert 0 < counted.frames <= 8


async def test_a_refused_run_writes_nothing_and_reads_only_whether_its_request_was_made_before(meter: Meter) -> None:
    async def refused() -> None:  # the client gives each call a request id
        with pytest.raises(ThreadBusy):
            await meter.service.client.runs.create("first", "idle", input=said("no"), multitask_strategy="reject")

    counted = await meter.of(refused)
    assert (counted.hops, counted.statements, counted.frames) == ({"writer": 1}, {"writer": 4}, 0)

    async def refused_without_an_id() -> None:
        request = pb.CreateRunRequest(
            thread_id="first", assistant_id="idle", multitask_strategy=MULTITASK_STRATEGY_REJECT
        )
        with pytest.raises(grpc.aio.AioRpcError, match="is busy"):
            await meter.service.runs.CreateRun(request)

    counted = await meter.of(refused_without_an_id)
    assert (counted.hops, counted.statements, counted.frames) == ({}, {}, 0)


async def test_reading_a_run_is_one_hop(meter: Meter) -> None:
    thread_id = await meter.service.thread()
    run_id = await turn(meter.service, thread_id)
    counted = await meter.of(lambda: meter.service.client.runs.get(thread_id, run_id))
    assert (counted.hops, counted.statements, counted.frames) == ({"rows": 1}, {"rows": 3}, 0)


@pytest.mark.parametrize("turns_before", [0, 40])
async def test_a_turn_of_one_step_is_two_commits_however_many_came_before(meter: Meter, turns_before: int) -> None:
    """The claim is part of the admission's commit, the step part of the finish's."""
    thread_id = await meter.service.thread()
    for _ in range(turns_before):
        await turn(meter.service, thread_id)
    counted = await meter.of(lambda: turn(meter.service, thread_id))
    # The join's reading of the run; the graph's of the run and its state; the join's of both once it has ended.
    assert counted.hops == {"writer": 2, "rows": 1, "scans": 2}
    assert counted.statements == {"writer": 22, "rows": 3, "scans": 12}
    assert 0 < counted.frames <= 24
