"""JSON that went in as text comes out as it was: numbers as they were written, keys in their order, every string."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from doubletext import Context, DoubletextError, graph
from doubletext.jsontext import loads
from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext_server.store.sqlite.backup import backup
from tests.rpc.fake_server import all_of
from tests.support.requests import struct, workers
from tests.support.server import Service, serving

ODD: Final = (
    '{"z":[9007199254740993,18446744073709551616,1e400,0.1,1.0e5,-0,1E-7,100000000000000000000000.50],'
    '"a":"\\ud83d","\\u0000":"\\u0000","m":{"y":1,"b":[true,null,"é"]}}'
)
TEXT: Final = (("doubletext-json", "text"),)


@graph
async def repeating(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    yield {"seen": ctx.input}
    await ctx.emit("shown", ctx.input)
    yield {"state": ctx.state}


def merged(state: str, **more: str) -> str:
    return state[:-1] + "".join(f',"{key}":{text}' for key, text in more.items()) + "}"


@pytest.mark.parametrize("by_worker", [False, True])
async def test_what_a_graph_repeats_is_an_equal_value(tmp_path: Path, by_worker: bool) -> None:
    async with serving(tmp_path / "test.db", (repeating,), by_worker=by_worker) as service:
        request = rpb.CreateRunRequest(
            thread_id="t", assistant_id="repeating", input_json=ODD, if_thread_not_exists=pb.IF_THREAD_NOT_EXISTS_CREATE
        )
        run = (await service.runs.CreateRun(request)).run
        await service.client.runs.join("t", run.run_id)
        state = (await service.client.threads.get_state("t"))["values"]
        sent = loads(ODD)
        assert state["seen"] == state["state"] == sent
        assert [str(each) for each in state["seen"]["z"]] == [str(each) for each in sent["z"]]
        assert isinstance(sent["z"][2], Decimal)
        events = [event async for event in service.client.runs.watch("t", run.run_id)]
        assert [event["output"]["data"] for event in events if "output" in event] == [sent]
        raw = (await service.threads.GetState(tpb.GetStateRequest(thread_id="t"), metadata=TEXT)).state
        assert raw.values_json.startswith(ODD[:-1] + ',"seen":')


async def write_everywhere(service: Service) -> None:
    """The same object by every RPC that takes one, and a run that a worker by hand has finished."""
    await service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t", metadata_json=ODD))
    await service.threads.UpdateState(tpb.UpdateStateRequest(thread_id="t", values_json=ODD))
    await service.assistants.CreateAssistant(
        apb.CreateAssistantRequest(assistant_id="hand", graph="hand", metadata_json=ODD, config_json=ODD)
    )
    await service.runs.CreateRun(
        rpb.CreateRunRequest(
            thread_id="t",
            assistant_id="hand",
            input_json=ODD,
            metadata_json=ODD,
            multitask_strategy=pb.MULTITASK_STRATEGY_ENQUEUE,
        )
    )
    stub = workers(service)
    claimed = (await stub.ClaimRun(wpb.ClaimRunRequest(worker_id="w", graphs=["hand"]), metadata=TEXT)).assignment
    assert claimed.run.input_json == claimed.run.metadata_json == claimed.assistant.config_json == ODD
    assert claimed.state.values_json == ODD
    await stub.CommitStep(wpb.CommitStepRequest(lease=claimed.lease, update_json=f'{{"step":{ODD}}}'))
    shown = pb.Output(channel="shown", data_json=ODD)
    await stub.PublishOutput(wpb.PublishOutputRequest(lease=claimed.lease, outputs=[shown]))
    finished = wpb.FinishRunRequest(lease=claimed.lease, success=wpb.Success(update_json=f'{{"last":{ODD}}}'))
    assert (await stub.FinishRun(finished)).run.input_json == ODD


async def read_everywhere(service: Service) -> None:
    run = (await service.runs.ListRuns(rpb.ListRunsRequest(thread_id="t"), metadata=TEXT)).runs[0]
    thread = (await service.threads.GetThread(tpb.GetThreadRequest(thread_id="t"), metadata=TEXT)).thread
    again = (await service.runs.GetRun(rpb.GetRunRequest(run_id=run.run_id), metadata=TEXT)).run
    state = (await service.threads.GetState(tpb.GetStateRequest(thread_id="t"), metadata=TEXT)).state
    joined = await service.runs.JoinRun(rpb.JoinRunRequest(run_id=run.run_id), metadata=TEXT)
    states = (await service.threads.ListStates(tpb.ListStatesRequest(thread_id="t"), metadata=TEXT)).states
    assert thread.metadata_json == run.input_json == again.metadata_json == joined.run.input_json == ODD
    whole = merged(ODD, step=ODD, last=ODD)
    assert state.values_json == joined.state.values_json == whole
    assert [each.values_json for each in states] == [whole, merged(ODD, step=ODD), ODD, ODD]
    watched = service.runs.WatchRun(rpb.WatchRunRequest(run_id=run.run_id), metadata=TEXT)
    events = [response.event async for response in watched]
    assert [event.step_committed.update_json for event in events if event.HasField("step_committed")] == [
        ODD,
        f'{{"step":{ODD}}}',
        f'{{"last":{ODD}}}',
    ]
    assert [event.output.data_json for event in events if event.HasField("output")] == [ODD]
    assert not any(event.output.HasField("data") for event in events)


async def test_every_rpc_keeps_text_to_the_letter_over_a_restart_and_in_a_backup(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", ()) as service:
        await write_everywhere(service)
        await read_everywhere(service)
    async with serving(tmp_path / "test.db", ()) as service:
        await read_everywhere(service)
    backup(str(tmp_path / "test.db"), str(tmp_path / "backup.db"))
    async with serving(tmp_path / "backup.db", ()) as service:
        await read_everywhere(service)


async def test_a_struct_gets_no_value_that_it_cannot_hold(service: Service) -> None:
    """Readings of one thing are refused, with the place; everything else answers with text in the Struct's place."""
    await service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t"))
    request = rpb.CreateRunRequest(
        thread_id="t", assistant_id="echo", input_json='{"a":{"n":[1,9007199254740993]}}', metadata_json='{"m":1}'
    )
    run = (await service.runs.CreateRun(request)).run
    await service.client.runs.join("t", run.run_id)
    reading: dict[str, Any] = {
        "input.a.n[1]": service.runs.GetRun(rpb.GetRunRequest(run_id=run.run_id)),
        "values.a.n[1]": service.threads.GetState(tpb.GetStateRequest(thread_id="t")),
    }
    for path, call in reading.items():
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert path in str(raised.value.details())
    (listed,) = (await service.runs.ListRuns(rpb.ListRunsRequest(thread_id="t"))).runs
    assert (listed.input_json, listed.HasField("input")) == ('{"a":{"n":[1,9007199254740993]}}', False)
    assert (dict(listed.metadata), listed.metadata_json) == ({"m": 1}, "")
    events = [response.event async for response in service.runs.WatchRun(rpb.WatchRunRequest(run_id=run.run_id))]
    steps = [event.step_committed for event in events if event.HasField("step_committed")]
    assert (steps[0].update_json, steps[0].HasField("update")) == ('{"a":{"n":[1,9007199254740993]}}', False)
    assert dict(steps[-1].update)


@pytest.mark.parametrize("text", ['{"s":"\\ud800"}', '{"\\udfff":1}', '{"n":1e400}', '{"n":0.12345678901234567890}'])
async def test_what_no_struct_holds_is_refused_or_sent_as_text(service: Service, text: str) -> None:
    await service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t", metadata_json=text))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.threads.GetThread(tpb.GetThreadRequest(thread_id="t"))
    assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    (thread,) = (await service.threads.ListThreads(tpb.ListThreadsRequest())).threads
    assert (thread.metadata_json, thread.HasField("metadata")) == (text, False)


@pytest.mark.parametrize("text", ['{"n":0.1}', '{"n":1.0e5}', '{"n":-0}', '{"n":9007199254740994}', '{"n":1e300}'])
async def test_what_a_struct_holds_exactly_is_sent_in_one(service: Service, text: str) -> None:
    await service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t", metadata_json=text))
    thread = (await service.threads.GetThread(tpb.GetThreadRequest(thread_id="t"))).thread
    assert (thread.metadata, thread.metadata_json) == (struct(loads(text)), "")


async def test_an_answer_is_text_where_any_was_given(service: Service) -> None:
    await service.threads.CreateThread(tpb.CreateThreadRequest(thread_id="t"))
    request = rpb.CreateRunRequest(thread_id="t", assistant_id="echo", input=struct({"b": 1, "a": 2}))
    run = (await service.runs.CreateRun(request)).run
    assert (run.HasField("input"), run.HasField("metadata"), run.input_json) == (True, True, "")
    request.metadata_json = "{ }"
    run = (await service.runs.CreateRun(request)).run
    assert (run.HasField("input"), run.input_json, run.metadata_json) == (False, '{"a":2,"b":1}', "{}")
    request = rpb.CreateRunRequest(thread_id="t", assistant_id="echo", input=struct({"b": 1, "a": 2}))
    run = (await service.runs.CreateRun(request, metadata=TEXT)).run
    assert (run.HasField("input"), run.input_json) == (False, '{"a":2,"b":1}')


async def test_a_repeated_call_is_known_by_its_values(service: Service) -> None:
    await service.client.threads.create("t")
    spellings = ['{"a":1,"b":[2.50,-0]}', '{ "b" : [25e-1, 0], "a" : 1.0 }']
    requests = [
        rpb.CreateRunRequest(thread_id="t", assistant_id="echo", request_id="once", input_json=text)
        for text in spellings
    ]
    requests.append(
        rpb.CreateRunRequest(
            thread_id="t", assistant_id="echo", request_id="once", input=struct({"a": 1, "b": [2.5, 0]})
        )
    )
    assert len({(await service.runs.CreateRun(request)).run.run_id for request in requests}) == 1
    other = rpb.CreateRunRequest(
        thread_id="t", assistant_id="echo", request_id="once", input_json='{"a":1.00000000000000000001,"b":[2.5,0]}'
    )
    with pytest.raises(grpc.aio.AioRpcError, match="request_id"):
        await service.runs.CreateRun(other)


async def test_a_repeated_step_and_outcome_are_known_by_their_values(service: Service) -> None:
    await service.client.assistants.create("hand", assistant_id="hand")
    await service.client.runs.create("t", "hand", if_thread_not_exists="create")
    stub = workers(service)
    lease = (await stub.ClaimRun(wpb.ClaimRunRequest(worker_id="w", graphs=["hand"]))).assignment.lease
    for text in ('{"a":1,"b":2}', '{"b":2.0,"a":1}'):
        step = wpb.CommitStepRequest(lease=lease, update_json=text, expected_step=2)
        assert (await stub.CommitStep(step)).step == 2
    for text in ('{"a":1,"b":2}', '{"b":2e0,"a":1}'):
        await stub.FinishRun(wpb.FinishRunRequest(lease=lease, success=wpb.Success(update_json=text)))
    with pytest.raises(grpc.aio.AioRpcError, match="is over"):
        await stub.FinishRun(wpb.FinishRunRequest(lease=lease, success=wpb.Success(update_json='{"a":2,"b":2}')))
    assert (await service.client.threads.get_state("t"))["step"] == 3


async def test_a_filter_tells_numbers_that_are_one_double(service: Service) -> None:
    for number in (9007199254740992, 9007199254740993, Decimal("1e400")):
        made = await service.client.threads.create(metadata={"n": number})
        found = await all_of(service.client.threads.list(metadata={"n": number}))
        assert [thread["thread_id"] for thread in found] == [made["thread_id"]]


async def test_the_client_gets_what_it_gave(service: Service) -> None:
    given = {"z": 2**53 + 1, "a": Decimal("1e400"), "s": "\ud800", "zero": -0.0, "deep": {"b": 1, "a": (1, 2)}}
    run = await service.client.runs.create("t", "echo", input=given, if_thread_not_exists="create")
    assert list(run["input"]) == list(given)
    assert run["input"] == {**given, "deep": {"b": 1, "a": [1, 2]}}
    assert str(run["input"]["zero"]) == "-0.0"
    assert list(run["input"]["deep"]) == ["b", "a"]


async def test_the_client_says_which_value_is_none_of_json(service: Service) -> None:
    with pytest.raises((TypeError, ValueError, DoubletextError), match=r"a\.b\[1\] is not a finite number"):
        await service.client.runs.create("t", "echo", input={"a": {"b": [1, float("inf")]}})
