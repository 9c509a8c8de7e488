"""Many calls at once on one thread, calls that race with the end of a run, and clients that hang up."""

import asyncio
from collections import Counter

import grpc
import pytest

from doubletext import ThreadBusy
from doubletext.structs import to_struct
from doubletext.v1 import resources_pb2, run_service_pb2
from tests.support.server import Service, gates, said

pytestmark = pytest.mark.executors("server", "worker")

MANY = 100


async def test_of_many_rejecting_calls_on_an_idle_thread_exactly_one_is_admitted(service: Service) -> None:
    thread_id = await service.thread()
    calls = [service.say(thread_id, str(n), "reject", after={"0": "go"}) for n in range(MANY)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    admitted = [answer for answer in answers if not isinstance(answer, BaseException)]
    refused = [answer for answer in answers if isinstance(answer, ThreadBusy)]
    assert (len(admitted), len(refused)) == (1, MANY - 1)
    assert {busy.active_run_id for busy in refused} == {admitted[0]["run_id"]}

    gates["go"].set()
    assert (await service.client.runs.join(thread_id, admitted[0]["run_id"]))["run"]["status"] == "success"
    assert await service.statuses(thread_id) == ["success"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_many_superseding_calls_all_are_admitted_and_one_survives(service: Service, strategy: str) -> None:
    thread_id = await service.thread()
    calls = [service.say(thread_id, str(n), strategy, after={"0": "go"}) for n in range(MANY)]
    created = await asyncio.gather(*calls)
    gates["go"].set()
    assert sorted(run["sequence"] for run in created) == list(range(1, MANY + 1))
    last = max(created, key=lambda run: run["sequence"])
    assert (await service.client.runs.join(thread_id, last["run_id"]))["run"]["status"] == "success"

    kept = {"success": 1, "interrupted": MANY - 1} if strategy == "interrupt" else {"success": 1}
    assert Counter(await service.statuses(thread_id)) == kept
    superseded = {old["run_id"]: old["superseded_by"] for run in created for old in run["superseded"]}
    assert set(superseded) == {run["run_id"] for run in created} - {last["run_id"]}
    assert {superseded[run["run_id"]] for run in created if run is not last} <= {run["run_id"] for run in created}
    text = last["input"]["messages"][0]["content"]
    assert (await service.contents(thread_id))[-2:] == [text, f"{text} 1"]
    if strategy == "rollback":
        assert await service.contents(thread_id) == [text, f"{text} 1"]


async def test_many_enqueued_runs_go_one_at_a_time_in_order_and_the_state_is_their_sum(service: Service) -> None:
    thread_id = await service.thread()
    created = await asyncio.gather(*(service.say(thread_id, str(n), "enqueue", steps=2) for n in range(MANY)))
    in_order = sorted(created, key=lambda run: run["sequence"])
    await service.client.runs.join(thread_id, in_order[-1]["run_id"])

    assert await service.statuses(thread_id) == ["success"] * MANY
    texts = [run["input"]["messages"][0]["content"] for run in in_order]
    assert await service.contents(thread_id) == [line for text in texts for line in (text, f"{text} 1", f"{text} 2")]
    moves = [
        (event.event.run_id, event.event.kind.after.value)
        for event in await service.events(thread_id)
        if hasattr(event.event.kind, "after") and event.event.kind.after.value != "pending"
    ]
    ids = [run["run_id"] for run in in_order]
    assert moves == [(run_id, status) for run_id in ids for status in ("running", "success")]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_run_that_ends_as_it_is_superseded_is_either_finished_or_stopped(
    service: Service, strategy: str
) -> None:
    outcomes: Counter[str] = Counter()
    lead = -20  # turns of the event loop by which the first run is ahead of the second call
    while lead < 20 or not outcomes["success"]:
        lead += 1 + max(lead, 0) // 5
        thread_id = await service.thread()
        gate = gates[f"go {lead}"]
        first = await service.started(thread_id, "a", after={"0": f"go {lead}"})
        joined = asyncio.create_task(service.client.runs.join(thread_id, first["run_id"]))
        await service.client.runs.join(thread_id, first["run_id"], wait=0)
        if lead >= 0:
            gate.set()
            await turns(lead)
        second = asyncio.create_task(service.say(thread_id, "b", strategy))
        if lead < 0:
            await turns(-lead)
            gate.set()
        created = await second
        await service.client.runs.join(thread_id, created["run_id"])
        end = await joined
        status = end["run"]["status"]
        outcomes[status] += 1
        contents = await service.contents(thread_id)
        if status == "success":
            assert created["superseded"] == []
            assert contents == ["a", "a 1", "b", "b 1"]
            assert [m["content"] for m in end["state"]["values"]["messages"]] == ["a", "a 1"]
        else:
            assert [run["run_id"] for run in created["superseded"]] == [first["run_id"]]
            assert status == ("interrupted" if strategy == "interrupt" else "deleted")
            assert (
                contents
                in {
                    "interrupt": (["a", "b", "b 1"], ["a", "a 1", "b", "b 1"]),
                    "rollback": (["b", "b 1"],),
                }[strategy]
            )


async def test_a_cancel_that_races_with_the_start_gives_exactly_one_of_the_two(service: Service) -> None:
    for attempt in range(20):
        thread_id = await service.thread()
        run = await service.say(thread_id, "a")
        await turns(attempt)
        cancelled = await service.client.runs.cancel(thread_id, run["run_id"])
        assert cancelled["status"] in ("interrupted", "success")
        joined = await service.client.runs.join(thread_id, run["run_id"])
        assert joined["run"]["status"] == cancelled["status"]
        contents = [m["content"] for m in joined["state"]["values"].get("messages", [])]
        assert contents == await service.contents(thread_id)
        assert len(contents) <= 2


async def test_a_client_that_hangs_up_leaves_all_of_a_call_or_nothing(service: Service) -> None:
    """Hangs up after 0, 1, 2 … turns of the event loop, which both sides share here, until it is answered first."""
    held_on, happened, answered = 0, 0, False
    while not answered:
        held_on += 1 + held_on // 4
        thread_id = await service.thread()
        first = await service.started(thread_id, "a", steps_made=1)
        call = service.runs.CreateRun(
            run_service_pb2.CreateRunRequest(
                thread_id=thread_id,
                assistant_id="scripted",
                input=to_struct(said("b") | {"after": {"0": "never"}}),
                multitask_strategy=resources_pb2.MULTITASK_STRATEGY_ROLLBACK,
            )
        )
        await turns(held_on)
        answered = not call.cancel()
        if not answered:
            with pytest.raises(asyncio.CancelledError):
                await call
        await settled(service, thread_id)
        thread = await service.client.threads.get(thread_id)
        runs = [run async for run in service.client.runs.list(thread_id, oldest_first=True)]
        if len(runs) == 1 and runs[0]["run_id"] == first["run_id"]:
            assert runs[0]["status"] == "running"
            assert await service.contents(thread_id) == ["a", "a 1"]
        else:
            happened += 1
            assert [run["multitask_strategy"] for run in runs] == ["rollback"]
            assert "a" not in await service.contents(thread_id)
            assert thread["queued_runs"] + bool(thread["active_run_id"]) == 1
    assert happened


async def turns(number: int) -> None:
    """Let the event loop turn so often."""
    for _ in range(number):
        await asyncio.sleep(0)


async def settled(service: Service, thread_id: str) -> None:
    """Let what was asked before pass the admission and the writer, which could not begin in an open transaction."""
    await service.client.threads.get(thread_id)
    await service.sqlite.writer.run(lambda connection: None)


async def test_a_fold_of_the_steps_is_what_get_state_answers(service: Service) -> None:
    thread_id = await service.thread()
    await asyncio.gather(*(service.say(thread_id, str(n), "enqueue", steps=3) for n in range(5)))
    last = await service.say(thread_id, "last", "enqueue")
    await service.client.runs.join(thread_id, last["run_id"])
    _, raw = await service.app.store.start_of(thread_id, last["run_id"])
    assert raw.values() == (await service.client.threads.get_state(thread_id))["values"]


async def test_joining_never_shows_a_later_runs_state(service: Service) -> None:
    thread_id = await service.thread()
    runs = [await service.say(thread_id, str(n), "enqueue") for n in range(8)]
    joins = await asyncio.gather(*(service.client.runs.join(thread_id, run["run_id"]) for run in runs))
    for n, joined in enumerate(joins):
        assert len(joined["state"]["values"]["messages"]) == 2 * (n + 1)
        assert joined["state"]["step"] == joined["run"]["last_step"] == 2 * (n + 1)


async def test_the_same_request_id_is_looked_up_before_the_strategy(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a")
    new = await service.say(thread_id, "b", "interrupt", request_id="once", after={"0": "never"})
    repeated = await service.say(thread_id, "b", "interrupt", request_id="once", after={"0": "never"})
    assert repeated["run_id"] == new["run_id"]
    assert [run["run_id"] for run in repeated["superseded"]] == [first["run_id"]]
    assert repeated["status"] in ("pending", "running")
    assert len(await service.statuses(thread_id)) == 2

    answers = await asyncio.gather(
        *(service.say(thread_id, "c", "rollback", request_id="many", after={"0": "never"}) for _ in range(20))
    )
    assert len({run["run_id"] for run in answers}) == 1
    assert {len(run["superseded"]) for run in answers} == {1}

    gone = await service.say(thread_id, "b", "interrupt", request_id="once", after={"0": "never"})
    assert (gone["run_id"], gone["status"]) == (new["run_id"], "deleted")


async def test_a_call_past_its_deadline_is_not_an_error_of_the_run(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.started(thread_id, "a")
    request = run_service_pb2.JoinRunRequest(run_id=run["run_id"])
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await service.runs.JoinRun(request, timeout=0.05)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await service.client.runs.get(thread_id, run["run_id"]))["status"] == "running"
