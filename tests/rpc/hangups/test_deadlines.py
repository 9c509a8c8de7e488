"""Deadlines that pass in the midst of a call: before its change, after it, and while it waits for others."""

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import worker_service_pb2 as wpb
from tests.rpc.hangups.cases import ROWS
from tests.rpc.hangups.prepared_thread import Stage, busy
from tests.rpc.hangups.stopped_lanes import held, waiting
from tests.rpc.hangups.test_cancelled import once_more
from tests.rpc.hangups.test_streams import all_wait
from tests.support.clock import ManualClock
from tests.support.held_resources import at_rest, let_go
from tests.support.rpcs import METHODS, call
from tests.support.server import Service, serving
from tests.support.worker import claimed

LATE: Final = grpc.StatusCode.DEADLINE_EXCEEDED
DEADLINES: Final = (0.25, 2.5, 15)
"""Seconds, each tried when in the one before it not all calls came as far as they should."""
FROM_MEMORY: Final = {"GetAssistant", "ListAssistants", "ClaimRun"}
"""Those that need no lane, this claim because there is nothing to claim."""


async def outcome(service: Service, name: str, request: Message, deadline: float) -> grpc.StatusCode:
    rpc: Any = call(service.channel, METHODS[name], request, timeout=deadline)
    try:
        if METHODS[name].server_streaming:
            async for _ in rpc:
                pass
        else:
            await rpc
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def outcomes(service: Service, stages: dict[str, Stage], deadline: float) -> dict[str, grpc.StatusCode]:
    """Make all calls at once, each on its own stage."""
    calls = (outcome(service, name, ROWS[name].request(stage), deadline) for name, stage in stages.items())
    return dict(zip(stages, await asyncio.gather(*calls), strict=True))


async def set_up(service: Service, clock: ManualClock, names: set[str], attempt: int) -> dict[str, Stage]:
    numbers = range(attempt * 100, attempt * 100 + len(names))
    made = zip(sorted(names), numbers, strict=True)
    stages = {name: ROWS[name].set_up(service, clock, number) for name, number in made}
    return dict(zip(stages, await asyncio.gather(*stages.values()), strict=True))


async def test_a_change_that_was_asked_for_is_made_whole_though_its_deadline_passes(tmp_path: Path) -> None:
    clock, changing = ManualClock(), {name for name, row in ROWS.items() if row.writes}
    async with serving(tmp_path / "test.db", clock=clock, lease=3600) as service:
        writer, before, queued = service.sqlite.writer, await at_rest(service), 0
        for attempt, deadline in enumerate(DEADLINES):
            stages = await set_up(service, clock, changing, attempt)
            async with held(writer):
                codes = await outcomes(service, stages, deadline)
                queued = waiting(writer)
            if queued == len(changing):
                break
        assert queued == len(changing)
        assert codes == dict.fromkeys(stages, LATE)
        await let_go(service, before)
        assert {name: stage.facts() for name, stage in stages.items()} == {name: ROWS[name].all for name in stages}
        for name, stage in stages.items():
            await once_more(service, name, ROWS[name], stage, happened=True)


async def test_a_deadline_that_passes_while_a_call_reads_leaves_all_of_it_or_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=3600) as service:
        readers, before = (service.sqlite.rows, service.sqlite.scans), await at_rest(service)
        stages = await set_up(service, clock, set(ROWS), 0)
        async with held(*readers):
            codes = await outcomes(service, stages, 0.5)
        assert set(codes.values()) == {grpc.StatusCode.OK, LATE}
        assert {name for name, code in codes.items() if code is not LATE} >= FROM_MEMORY
        await let_go(service, before)
        happened = {name: stage.facts() for name, stage in stages.items()}
        assert [name for name, facts in happened.items() if facts not in ((), ROWS[name].all)] == []
        assert [name for name, code in codes.items() if code is not LATE and happened[name] != ROWS[name].all] == []
        for name, stage in stages.items():
            if ROWS[name].ends:
                await once_more(service, name, ROWS[name], stage, happened=happened[name] == ROWS[name].all)


async def test_a_deadline_that_passes_while_a_call_waits_for_others_frees_its_place(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock, lease=3600) as service:
        before = await at_rest(service)
        for attempt, deadline in enumerate(DEADLINES):
            stage, stopped = await busy(service, clock, 2 * attempt), await busy(service, clock, 2 * attempt + 1)
            wait = Duration(seconds=3600)
            requests = {name: ROWS[name].request(stage) for name, row in ROWS.items() if not row.ends} | {
                "ClaimRun": wpb.ClaimRunRequest(worker_id="w", graphs=["none"], wait=wait),
                "CancelRun": rpb.CancelRunRequest(run_id=stopped.run_id("a"), wait=wait),
            }
            there = asyncio.create_task(all_wait(service, len(requests)))
            codes = await asyncio.gather(*(outcome(service, *each, deadline) for each in requests.items()))
            if not there.cancel():
                break
        assert there.done()
        assert not there.cancelled()
        assert codes == [LATE] * len(requests)
        await let_go(service, before)
        assert stage.facts() == ()
        assert stopped.facts() == ("a interrupted",)
        await service.client.assistants.create("none", assistant_id="none")
        run = await service.client.runs.create(stage.thread_id, "none", multitask_strategy="interrupt")
        await service.client.runs.cancel(stage.thread_id, stage.run_id("b"))
        await call(service.channel, METHODS["ReleaseRun"], wpb.ReleaseRunRequest(lease=stage.lease))
        again = await claimed(service, "none")
        assert (again.run.run_id, again.run.attempt) == (run["run_id"], 1)
