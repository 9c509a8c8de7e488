"""A drain in the middle of everything: each call ends, the server stops, and the next one on the file has all runs."""

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from doubletext.structs import to_struct
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext_server.clock import system_clock
from doubletext_server.store.check import check
from tests.rpc.calls import METHODS, call, read
from tests.rpc.hangups.test_streams import all_wait
from tests.rpc.test_races import turns
from tests.service import Service, gates, said, serving
from tests.worker import record
from tests.worker.checker import judge
from tests.worker.hand import GRAPH, begun, claimed

OWN: Final = 6
"""Threads with runs of the server's own graph."""
LEASE: Final = 3600
STOPS: Final = (0, 1, 2, 5, 12, 40, 100, 150, 200, 250, 300, 350, 400, 500, 700)
"""Turns of the event loop after the last call was made."""


class Everything:
    """Calls of all kinds that are under way, and the runs whose CreateRun was answered."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.accepted: dict[str, str] = {}
        self.ends: list[asyncio.Task[str]] = []
        self.in_place = 0

    def under_way(self, name: str, request: Any) -> None:
        self.ends.append(asyncio.create_task(self._end(name, request)))

    async def _end(self, name: str, request: Any) -> str:
        """How the call ends. For an error that came from this service, its reason."""
        rpc = call(self.service.channel, METHODS[name], request)
        try:
            if METHODS[name].server_streaming:
                async for _ in rpc:
                    pass
            else:
                self.note(await rpc)
        except grpc.aio.AioRpcError as error:
            if error.trailing_metadata() and "grpc-status-details-bin" in dict(error.trailing_metadata() or ()):
                return read(error).reason
            return error.code().name
        return "OK"

    def note(self, answer: Any) -> None:
        if isinstance(answer, rpb.CreateRunResponse):
            self.accepted[answer.run.run_id] = answer.run.thread_id

    async def before(self) -> None:
        """What has come to its place when the drain begins."""
        service = self.service
        await service.client.assistants.create(GRAPH, assistant_id=GRAPH)
        await service.client.assistants.create("scripted", assistant_id="patient", stop_grace=3600)
        for number in range(OWN):
            thread_id = (await service.client.threads.create(f"own{number}"))["thread_id"]
            run = await service.started(thread_id, "a", steps_made=1)
            self.accepted[run["run_id"]] = thread_id
            self.under_way("JoinRun", rpb.JoinRunRequest(run_id=run["run_id"]))
            self.under_way("WatchRun", rpb.WatchRunRequest(run_id=run["run_id"]))
            self.under_way("WatchThread", tpb.WatchThreadRequest(thread_id=thread_id))
        await service.client.threads.create("graced")
        self.graced = await service.started("graced", "old", assistant="patient", stubborn=True, after={"0": "obey"})
        for name in ("t", "u", "v"):
            await service.client.threads.create(name)
        self.held = await begun(service, "held")
        self.watched = await begun(service, "watched", thread="u")
        for held, thread_id in ((self.held, "t"), (self.watched, "u")):
            self.accepted[held.run.run_id] = thread_id
        self.under_way("WatchLease", wpb.WatchLeaseRequest(lease=self.watched.lease))
        self.under_way("ClaimRun", wpb.ClaimRunRequest(worker_id="w", graphs=["none"], wait=Duration(seconds=3600)))
        await all_wait(service, 3 * OWN + 2)
        self.in_place = len(self.ends)

    def now(self) -> None:
        """What is on its way when the drain begins."""
        wait = Duration(seconds=3600)
        self.under_way("CancelRun", rpb.CancelRunRequest(run_id=self.graced["run_id"], wait=wait))
        self.under_way("CommitStep", wpb.CommitStepRequest(lease=self.held.lease, update=to_struct(said("step"))))
        self.under_way("FinishRun", wpb.FinishRunRequest(lease=self.watched.lease, success=wpb.Success()))
        self.under_way("ClaimRun", wpb.ClaimRunRequest(worker_id="w", graphs=[GRAPH], wait=wait))
        self.under_way("CreateRun", rpb.CreateRunRequest(thread_id="v", assistant_id=GRAPH))
        self.under_way("ListThreads", tpb.ListThreadsRequest())
        for number in range(OWN):
            self.under_way(
                "CreateRun",
                rpb.CreateRunRequest(
                    thread_id=f"own{number}",
                    assistant_id="scripted",
                    input=to_struct(said("b") | {"after": {"0": "never"}}),
                    multitask_strategy=1 + number % 4,  # type: ignore[arg-type]
                ),
            )


@pytest.mark.parametrize("held_on", STOPS)
async def test_a_drain_at_any_turn_ends_every_call_and_loses_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_on: int
) -> None:
    db = tmp_path / "test.db"
    async with serving(db, lease=LEASE) as service:
        everything = Everything(service)
        await everything.before()
        everything.now()
        await turns(held_on)
        stopping = asyncio.create_task(service.app.stop())
        await turns(20)
        gates["obey"].set()
        left_behind = await stopping
        ends = await asyncio.gather(*everything.ends)
        monkeypatch.setattr(service.app, "stop", stopped)
    assert not left_behind
    assert set(ends[: everything.in_place]) <= {"OK", "NOT_READY"}
    assert set(ends) <= {"OK", "NOT_READY", "UNAVAILABLE", "CANCELLED", "THREAD_BUSY"}
    await the_next_server_ends(db, everything.accepted)
    assert list(check(str(db)).lines()) == []


async def stopped() -> bool:
    """Stop a server that has stopped."""
    return False


async def the_next_server_ends(db: Path, accepted: dict[str, str]) -> None:
    """Serve the file again, when all leases are over: every run that was accepted is there, and comes to an end."""
    async with serving(db, clock=lambda: system_clock() + LEASE * 1_000_000) as service:
        for gate in ("never a", "never", "obey"):
            gates[gate].set()
        executing = asyncio.create_task(by_hand(service))
        for thread_id in {*accepted.values(), "v", "graced"}:
            async for run in service.client.runs.list(thread_id):
                ended = await service.client.runs.join(thread_id, run["run_id"])
                assert ended["run"]["status"] in ("success", "interrupted"), ended
        executing.cancel()
        for thread_id in {*accepted.values(), "graced"}:
            with record.reading(db) as connection:
                thread = record.read(connection, thread_id)
            assert thread is not None
            assert judge(thread, [run_id for run_id, on in accepted.items() if on == thread_id]) == []


async def by_hand(service: Service) -> None:
    """Execute what is there for workers."""
    while True:
        await (await claimed(service)).succeed()
