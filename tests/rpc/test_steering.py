"""STEER: what is said to a running run becomes a step of it, or runs next; never both, and never neither."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest

from doubletext import DoubletextError, InvalidField, RunChanged, graph
from doubletext.graph import Context
from doubletext.v1 import worker_service_pb2 as pb
from doubletext_server.store.protocol import RunRecord
from tests.support.clock import TimerClock
from tests.support.server import Service, gates, said, serving
from tests.support.worker import Held, claimed, message

HAND: Final = "hand"


@pytest.fixture
async def hand(service: Service) -> Service:
    """A service with two assistants of graphs that are executed by hand."""
    for name in (HAND, "other"):
        await service.client.assistants.create(name, assistant_id=name)
    return service


async def steer(service: Service, thread_id: str, text: str, **more: Any) -> Any:
    more = {"assistant": HAND, **more}
    return await service.say(thread_id, text, "steer", **more)


def step(held: Held, update: str | None, *absorb: str, expected_step: int | None = None) -> Any:
    request = pb.CommitStepRequest(lease=held.lease, absorb=absorb, expected_step=expected_step)
    if update is not None:
        request.update.CopyFrom(message(update))
    return held.stub.CommitStep(request)


async def running(service: Service, text: str = "R") -> tuple[str, Held]:
    thread_id = await service.thread()
    await service.say(thread_id, text, "enqueue", assistant=HAND)
    return thread_id, await claimed(service, HAND)


async def test_what_steers_becomes_a_step_after_the_update_and_is_merged(hand: Service) -> None:
    thread_id, held = await running(hand)
    first, second = [await steer(hand, thread_id, text) for text in ("a", "b")]
    assert (first["status"], first["queue_policy"], first["queue_position"]) == ("pending", "keep", 1)
    assert second["queue_position"] == 2
    committed = await step(held, "R1", second["run_id"], first["run_id"], expected_step=2)
    assert committed.step == 4
    assert [each.run_id for each in committed.absorbed] == [first["run_id"], second["run_id"]], "in line order"
    assert [each.input["messages"][0]["content"] for each in committed.absorbed] == ["a", "b"]
    assert not committed.steers
    assert await hand.contents(thread_id) == ["R", "R1", "a", "b"]
    for each in (first, second):
        run = await hand.client.runs.get(thread_id, each["run_id"])
        assert (run["status"], run["merged_into"]) == ("merged", held.run.run_id)
    assert (await hand.client.threads.get_state(thread_id, step=3))["input_of"] == first["run_id"]
    await step(held, "R2", expected_step=5)
    await held.succeed()
    joined = await hand.client.runs.join(thread_id, first["run_id"], follow=True)
    assert (joined["run"]["run_id"], joined["run"]["status"]) == (held.run.run_id, "success")
    assert joined["run"]["merged"] == [first["run_id"], second["run_id"]]
    assert await hand.contents(thread_id) == ["R", "R1", "a", "b", "R2"]


async def test_absorbing_alone_needs_no_update_and_what_is_not_on_offer_is_passed_over(hand: Service) -> None:
    thread_id, held = await running(hand)
    run = await steer(hand, thread_id, "a")
    late = await steer(hand, thread_id, "later", delay=3600)
    foreign = await steer(hand, thread_id, "of another", assistant="other")
    plain = await hand.say(thread_id, "plain", "enqueue", assistant=HAND)
    names = [each["run_id"] for each in (late, foreign, plain)]
    nothing = await step(held, None, *names, "no-such-run")
    assert (nothing.step, list(nothing.absorbed)) == (1, [])
    assert [each.run_id for each in nothing.steers] == [run["run_id"]]
    taken = await step(held, None, *names, run["run_id"], expected_step=2)
    assert (taken.step, [each.run_id for each in taken.absorbed]) == (2, [run["run_id"]])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await step(held, None)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await hand.contents(thread_id) == ["R", "a"]


async def test_a_repeated_commit_answers_what_it_answered_and_absorbs_once(hand: Service) -> None:
    thread_id, held = await running(hand)
    first = (await steer(hand, thread_id, "a"))["run_id"]
    before = await step(held, "R1", first, "unknown", expected_step=2)
    second = (await steer(hand, thread_id, "b"))["run_id"]
    alone = await step(held, None, second, expected_step=4)
    assert (before.step, alone.step) == (3, 4)
    assert (await step(held, "R1", first, "unknown", expected_step=2)).absorbed == before.absorbed
    again = await step(held, None, second, expected_step=4)
    assert (again.step, again.absorbed) == (alone.step, alone.absorbed)
    for wrong in (
        step(held, "R1", expected_step=2),
        step(held, "R1", first, expected_step=2),
        step(held, "other", first, "unknown", expected_step=2),
        step(held, "R1", first, "unknown", expected_step=3),
        step(held, "b", second, expected_step=4),
        step(held, None, first, expected_step=1),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await wrong
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await hand.contents(thread_id) == ["R", "R1", "a", "b"]


async def test_the_line_has_what_steers_in_front_in_the_order_in_which_it_came(hand: Service) -> None:
    thread_id, held = await running(hand)
    names = {}
    for text, strategy in (("p", "enqueue"), ("a", "steer"), ("q", "enqueue"), ("b", "steer"), ("c", "steer")):
        names[text] = (await hand.say(thread_id, text, strategy, assistant=HAND))["run_id"]
    names["o"] = (await steer(hand, thread_id, "o", assistant="other"))["run_id"]
    runs = [run async for run in hand.client.runs.list(thread_id, statuses=["pending"])]
    line = [run["run_id"] for run in sorted(runs, key=lambda run: run["queue_position"])]
    assert line == [names[text] for text in "abcpqo"]
    await held.succeed()
    for text in "abcpq":
        held = await claimed(hand, HAND)
        assert held.run.run_id == names[text]
        await held.succeed()


async def test_with_nothing_running_it_starts_and_behind_others_it_waits_its_turn(hand: Service) -> None:
    thread_id = await hand.thread()
    first = await hand.say(thread_id, "p", "enqueue", assistant=HAND)
    second = await steer(hand, thread_id, "s")
    assert (first["queue_position"], second["queue_position"]) == (1, 2)
    held = await claimed(hand, HAND)
    assert held.run.run_id == first["run_id"]
    assert [each.run_id for each in (await held.beat()).steers] == [second["run_id"]]


async def test_offers_come_with_the_watch_once_each_and_with_heartbeats(hand: Service) -> None:
    thread_id, held = await running(hand)
    before = (await steer(hand, thread_id, "a"))["run_id"]
    watch = held.watch()
    told = [(await watch.read()).steer]
    after = (await steer(hand, thread_id, "b"))["run_id"]
    told.append((await watch.read()).steer)
    assert [(each.run_id, each.revision) for each in told] == [(before, 0), (after, 0)]
    assert [each.input["messages"][0]["content"] for each in told] == ["a", "b"]
    assert [each.run_id for each in (await held.beat()).steers] == [before, after]
    await step(held, None, before)
    last = (await steer(hand, thread_id, "c"))["run_id"]
    assert (await watch.read()).steer.run_id == last, "what was told is not told again"
    assert [each.run_id for each in (await held.beat()).steers] == [after, last]
    await hand.client.runs.cancel(thread_id, held.run.run_id)
    assert (await watch.read()).stop.reason == "CANCELLED"
    watch.cancel()


async def test_a_delayed_one_is_offered_when_it_is_due(tmp_path: Any) -> None:
    clock = TimerClock()
    async with serving(tmp_path / "db", clock=clock) as service:
        await service.client.assistants.create(HAND, assistant_id=HAND)
        thread_id, held = await running(service)
        run = await steer(service, thread_id, "later", delay=5)
        watch = held.watch()
        told = asyncio.ensure_future(watch.read())
        assert not (await held.beat()).steers
        assert not told.done()
        clock.forward(5)
        assert (await told).steer.run_id == run["run_id"]
        watch.cancel()


async def test_offers_are_at_most_two_mebibytes_at_a_time(hand: Service) -> None:
    thread_id, held = await running(hand)
    size = 1200 * 1024
    names = [(await steer(hand, thread_id, text * size))["run_id"] for text in "abc"]
    offered = [each.run_id for each in (await held.beat()).steers]
    assert offered == names[:1], "two would be more"
    committed = await step(held, None, *names)
    assert [each.run_id for each in committed.absorbed] == names[:1]
    assert [each.run_id for each in committed.steers] == names[1:2]


async def test_what_was_absorbed_goes_with_the_run_that_is_rolled_back(hand: Service) -> None:
    thread_id, held = await running(hand)
    run_id = (await steer(hand, thread_id, "a"))["run_id"]
    await step(held, "R1", run_id)
    new = await hand.say(thread_id, "N", "rollback", assistant=HAND)
    assert [run["run_id"] for run in new["superseded"]] == [held.run.run_id]
    assert not isinstance(await hand.sqlite.run(run_id), RunRecord)
    assert await hand.contents(thread_id) == []
    with pytest.raises(grpc.aio.AioRpcError):
        await step(held, "late")


async def test_what_was_not_absorbed_runs_next_also_after_an_interruption(hand: Service) -> None:
    thread_id, held = await running(hand)
    first = (await steer(hand, thread_id, "a"))["run_id"]
    await held.succeed("R1")
    next_one = await claimed(hand, HAND)
    assert next_one.run.run_id == first
    assert await hand.contents(thread_id) == ["R", "R1", "a"]
    second = (await steer(hand, thread_id, "b"))["run_id"]
    await next_one.release()
    again = await claimed(hand, HAND)
    assert again.run.run_id == first, "it was handed back, and goes on"
    assert [each.run_id for each in (await step(again, None, second)).absorbed] == [second]


async def test_merge_takes_what_steers(hand: Service) -> None:
    thread_id, held = await running(hand)
    run_id = (await steer(hand, thread_id, "a"))["run_id"]
    new = await hand.say(thread_id, "N", "enqueue", queue_policy="merge", assistant=HAND)
    assert new["merged"] == [run_id]
    assert not (await step(held, "R1", run_id)).absorbed
    assert (await hand.client.runs.get(thread_id, run_id))["merged_into"] == new["run_id"]


async def test_concurrent_commits_absorb_a_message_once(hand: Service) -> None:
    thread_id, held = await running(hand)
    names = [(await steer(hand, thread_id, str(n)))["run_id"] for n in range(10)]
    answers = await asyncio.gather(*(step(held, None, *names) for _ in range(10)))
    absorbed = [each.run_id for answer in answers for each in answer.absorbed]
    assert sorted(absorbed) == sorted(names)
    assert await hand.contents(thread_id) == ["R", *map(str, range(10))]


async def test_absorbing_races_with_the_end_of_the_run_and_nothing_is_lost_or_doubled(hand: Service) -> None:
    for round in range(20):
        thread_id, held = await running(hand)
        sent = await steer(hand, thread_id, "a")
        calls = [step(held, "R1", sent["run_id"]), held.succeed()]
        await asyncio.gather(*(calls if round % 2 else reversed(calls)), return_exceptions=True)
        run = await hand.client.runs.get(thread_id, sent["run_id"])
        assert run["status"] in ("merged", "pending")
        assert ("a" in await hand.contents(thread_id)) is (run["status"] == "merged")
        async for each in hand.client.runs.list(thread_id, statuses=["pending"]):
            await hand.client.runs.cancel(thread_id, each["run_id"])


@pytest.mark.parametrize("given", [{"queue_policy": "merge"}, {"queue_policy": "supersede"}, {"debounce": 1.0}])
async def test_it_has_no_queue_policy_but_keep(hand: Service, given: Any) -> None:
    thread_id = await hand.thread()
    with pytest.raises(InvalidField):
        await steer(hand, thread_id, "a", **given)
    await hand.client.threads.update(thread_id, default_queue_policy="merge")
    assert (await steer(hand, thread_id, "a"))["queue_policy"] == "keep", "the thread's default is ignored"


async def test_expected_run_id_admits_only_while_that_run_is_running(hand: Service) -> None:
    thread_id = await hand.thread()
    with pytest.raises(RunChanged) as refused:
        await steer(hand, thread_id, "a", expected_run_id="gone")
    assert refused.value.active_run_id == ""
    assert [run async for run in hand.client.runs.list(thread_id)] == []
    waiting = await hand.say(thread_id, "R", "enqueue", assistant=HAND)
    with pytest.raises(RunChanged):
        await steer(hand, thread_id, "a", expected_run_id=waiting["run_id"])
    held = await claimed(hand, HAND)
    first = await steer(hand, thread_id, "a", expected_run_id=held.run.run_id, request_id="q")
    with pytest.raises(RunChanged) as refused:
        await hand.say(thread_id, "a", "interrupt", assistant=HAND, expected_run_id="another")
    assert refused.value.active_run_id == held.run.run_id
    assert (await hand.client.runs.get(thread_id, held.run.run_id))["status"] == "running"
    await held.release()
    assert (await steer(hand, thread_id, "b", expected_run_id=held.run.run_id))["status"] == "pending"
    await hand.client.runs.cancel(thread_id, held.run.run_id)
    again = await steer(hand, thread_id, "a", expected_run_id=held.run.run_id, request_id="q")
    assert again["run_id"] == first["run_id"], "a repeated call is answered first"
    with pytest.raises(DoubletextError) as other:
        await steer(hand, thread_id, "a", request_id="q")
    assert other.value.reason == "REQUEST_ID_REUSED"


@graph
async def attentive(ctx: Context) -> AsyncIterator[Any]:
    yield said("begins")
    await gates["attentive"].wait()
    heard = [each["messages"][0]["content"] for each in await ctx.steered()]
    yield said(f"heard {', '.join(heard) or 'nothing'}")
    assert await ctx.steered() == []


async def test_a_graph_in_the_server_takes_what_is_said_to_it(tmp_path: Any) -> None:
    async with serving(tmp_path / "db", graphs=(attentive,)) as service:
        thread_id = await service.thread()
        run = await service.say(thread_id, "R", "enqueue", assistant="attentive")
        async for event in service.client.runs.watch(thread_id, run["run_id"]):
            if event["kind"] == "step_committed" and event["step_committed"]["step"] == 2:
                break
        steered = [await steer(service, thread_id, text, assistant="attentive") for text in ("a", "b")]
        gates["attentive"].set()
        joined = await service.client.runs.join(thread_id, run["run_id"])
        assert [each["content"] for each in joined["state"]["values"]["messages"]] == [
            "R",
            "begins",
            "a",
            "b",
            "heard a, b",
        ]
        assert joined["run"]["merged"] == [each["run_id"] for each in steered]
        again = await service.say(thread_id, "S", "enqueue", assistant="attentive")
        joined = await service.client.runs.join(thread_id, again["run_id"])
        assert joined["state"]["values"]["messages"][-1]["content"] == "heard nothing"
