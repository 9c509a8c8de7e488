"""Outputs that are `live_only`: at once to those who watch with `live`, and kept as lists that everybody gets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from doubletext import Context, graph
from doubletext.types import Event
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import worker_service_pb2 as wpb
from tests.support.requests import struct, workers
from tests.support.server import Service, gates, serving
from tests.support.worker import claimed

EPOCH = 2**32
TOKENS = [f"t{number}" for number in range(50)]


@graph
async def talking(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    await gates["start"].wait()
    for token in TOKENS:
        await ctx.emit("tokens", {"text": token}, live_only=True)
    await gates["live"].wait()
    yield {"said": len(TOKENS)}
    await ctx.emit("progress", {"done": 1})
    await ctx.emit("tokens", {"text": "last"}, live_only=True)


def parts(events: list[Event]) -> list[tuple[int, Any]]:
    return [
        (event["output"]["part"], event["output"]["data"])
        for event in events
        if "output" in event and "part" in event["output"]
    ]


def kept(events: list[Event]) -> list[tuple[int, int, Any]]:
    return [
        (event["output"]["first_part"], event["output"]["last_part"], event["output"]["value"])
        for event in events
        if "output" in event and "first_part" in event["output"]
    ]


@pytest.mark.parametrize("by_worker", [False, True])
async def test_tokens_come_at_once_and_are_kept_in_lists(tmp_path: Path, by_worker: bool) -> None:
    async with serving(tmp_path / "test.db", (talking,), by_worker=by_worker) as service:
        client = service.client
        run = await client.runs.create("t", "talking", if_thread_not_exists="create")
        watching = client.runs.watch("t", run["run_id"], live=True)
        live: list[Event] = [await anext(watching)]
        gates["start"].set()
        async for event in watching:
            live.append(event)
            if len(parts(live)) == len(TOKENS):
                gates["live"].set()
        later = [event async for event in client.runs.watch("t", run["run_id"])]
        sent = [{"text": token} for token in [*TOKENS, "last"]]
        assert parts(live) == [(EPOCH + number, data) for number, data in enumerate(sent, 1)]
        assert all(event["sequence"] == 0 for event in live if "output" in event and "part" in event["output"])
        assert parts(later) == []
        assert [data for _, _, values in kept(later) for data in values] == sent
        assert kept(later) == kept(live)
        assert kept(later)[-1] == (EPOCH + len(sent), EPOCH + len(sent), [{"text": "last"}])
        bounds = [(first, last, last - first + 1) for first, last, _ in kept(later)]
        assert all(count == len(values) for (_, _, count), (_, _, values) in zip(bounds, kept(later), strict=True))
        kinds = [next(iter(event["output"]["data"] or ["list"])) for event in later if "output" in event]
        assert kinds[-2:] == ["done", "list"], "what came later is kept later"
        numbers = [event["sequence"] for event in later]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_another_thread_and_another_run_get_no_parts(service: Service) -> None:
    await service.client.assistants.create("hand", assistant_id="hand")
    for thread_id in ("a", "b"):
        await service.client.runs.create(thread_id, "hand", if_thread_not_exists="create")
    held = {each.run.thread_id: each for each in (await claimed(service, "hand"), await claimed(service, "hand"))}
    watching = service.client.threads.watch("b", live=True)
    assert (await anext(watching))["sequence"] == 1
    assert (await anext(watching))["sequence"] == 2
    for thread_id, text in (("a", "1"), ("b", "2")):
        output = pb.Output(channel="c", data=struct({"text": text}))
        request = wpb.PublishOutputRequest(lease=held[thread_id].lease, outputs=[output], live_only=True)
        await workers(service).PublishOutput(request)
    event = await anext(watching)
    while "output" not in event:
        event = await anext(watching)
    assert event["output"] == {"channel": "c", "data": {"text": "2"}, "part": EPOCH + 1}
    await watching.aclose()


async def test_a_stopped_run_shows_nothing_more(service: Service) -> None:
    await service.client.assistants.create("hand", assistant_id="hand")
    run = await service.client.runs.create("t", "hand", if_thread_not_exists="create")
    held = await claimed(service, "hand")
    output = pb.Output(channel="c", data=struct({"text": "x"}))
    request = wpb.PublishOutputRequest(lease=held.lease, outputs=[output], live_only=True)
    await workers(service).PublishOutput(request)
    await service.client.runs.cancel("t", run["run_id"])
    with pytest.raises(grpc.aio.AioRpcError, match="is over"):
        await workers(service).PublishOutput(request)
    assert service.app.live._shown == {}, "nothing of it waits to be kept"


async def test_the_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", ()) as service:
        await service.client.assistants.create("hand", assistant_id="hand")
        await service.client.runs.create("t", "hand", if_thread_not_exists="create")
        held = await claimed(service, "hand")
        outputs = [pb.Output(channel="c", data=struct({"n": number})) for number in range(3)]
        request = wpb.PublishOutputRequest(lease=held.lease, outputs=outputs, live_only=True)
        await workers(service).PublishOutput(request)
    async with serving(tmp_path / "test.db", ()) as service:
        await workers(service).PublishOutput(request)
        await workers(service).FinishRun(wpb.FinishRunRequest(lease=held.lease, success=wpb.Success()))
        events = [event async for event in service.client.runs.watch("t", held.run.run_id)]
        assert [(first - EPOCH, last - EPOCH) for first, last, _ in kept(events)] == [(1, 3), (4, 6)]


@pytest.mark.parametrize("text", ["7", "null", '"x"', "[1,{}]", "1e400"])
async def test_an_output_may_be_any_json_value(service: Service, text: str) -> None:
    await service.client.assistants.create("hand", assistant_id="hand")
    await service.client.runs.create("t", "hand", if_thread_not_exists="create")
    held = await claimed(service, "hand")
    outputs = [pb.Output(channel="c", value_json=text)]
    await workers(service).PublishOutput(wpb.PublishOutputRequest(lease=held.lease, outputs=outputs))
    await workers(service).FinishRun(wpb.FinishRunRequest(lease=held.lease, success=wpb.Success()))
    request = rpb.WatchRunRequest(run_id=held.run.run_id)
    for metadata, in_text in ((None, text == "1e400"), ((("doubletext-json", "text"),), True)):
        events = [answer.event async for answer in service.runs.WatchRun(request, metadata=metadata)]
        (output,) = [event.output for event in events if event.HasField("output")]
        assert (output.value_json, output.HasField("value")) == (text if in_text else "", not in_text)


BAD = {
    "two": pb.Output(channel="c", value_json="1", data_json="{}"),
    "no JSON": pb.Output(channel="c", value_json="{"),
    "more than one": pb.Output(channel="c", value_json='1,"b":2'),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_value_that_is_none_is_refused(service: Service, bad: str) -> None:
    await service.client.assistants.create("hand", assistant_id="hand")
    await service.client.runs.create("t", "hand", if_thread_not_exists="create")
    held = await claimed(service, "hand")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await workers(service).PublishOutput(wpb.PublishOutputRequest(lease=held.lease, outputs=[BAD[bad]]))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "outputs[0]" in str(raised.value.details())
