"""The queue edited: runs that wait are changed and moved, all are cancelled at once, and threads are held."""

import asyncio
from typing import Any, Final

import grpc
import pytest

from doubletext import InvalidField, RevisionChanged, RunNotFound, RunRolledBack, RunStarted, ThreadNotFound
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub
from tests.support.clock import SECOND, ManualClock, TimerClock
from tests.support.server import Service, said, serving
from tests.support.worker import Held, claim, claimed

HAND: Final = "hand"


@pytest.fixture
async def hand(service: Service) -> Service:
    await service.client.assistants.create(HAND, assistant_id=HAND)
    return service


async def waiting(service: Service, *texts: str, **more: Any) -> tuple[str, Held, dict[str, str]]:
    """A thread with a run that is held, and runs that wait for it."""
    thread_id = await service.thread()
    await service.say(thread_id, "R", "enqueue", assistant=HAND)
    held = await claimed(service, HAND)
    ids = {text: (await service.say(thread_id, text, "enqueue", assistant=HAND, **more))["run_id"] for text in texts}
    return thread_id, held, ids


async def line(service: Service, thread_id: str) -> list[str]:
    """What the runs that wait say, in order."""
    runs = [run async for run in service.client.runs.list(thread_id, statuses=["pending"])]
    runs.sort(key=lambda run: run["queue_position"])
    assert [run["queue_position"] for run in runs] == list(range(1, len(runs) + 1))
    return [run["input"]["messages"][0]["content"] for run in runs]


async def test_a_run_that_waits_gets_what_is_given_and_keeps_the_rest(hand: Service) -> None:
    thread_id, held, ids = await waiting(hand, "a", "b")
    runs = hand.client.runs
    before = await runs.get(thread_id, ids["a"])
    edited = await runs.update(thread_id, ids["a"], input=said("A"), metadata={"k": 1}, timeout=7)
    assert edited == {**before, "input": said("A"), "metadata": {"k": 1}, "timeout": 7.0, "revision": 1}
    assert await runs.get(thread_id, ids["a"]) == edited
    assert [run["run_id"] async for run in runs.list(thread_id, metadata={"k": 1})] == [ids["a"]]
    again = await runs.update(None, ids["a"], metadata={}, expected_revision=1)
    assert (again["metadata"], again["input"], again["revision"]) == ({}, said("A"), 2)
    assert [run async for run in runs.list(thread_id, metadata={"k": 1})] == []
    await held.succeed()
    await (await claimed(hand, HAND)).succeed()
    await (await claimed(hand, HAND)).succeed()
    assert await hand.contents(thread_id) == ["R", "A", "b"]


async def test_only_what_waits_is_edited(hand: Service) -> None:
    thread_id, held, ids = await waiting(hand, "a", "b")
    runs = hand.client.runs
    refusal: type[Exception]
    gone = (await hand.say(thread_id, "gone", "enqueue", assistant=HAND))["run_id"]
    await runs.cancel(thread_id, gone, action="rollback")
    await runs.cancel(thread_id, ids["b"])
    before = await runs.get(thread_id, held.run.run_id)
    for run_id, refusal in ((held.run.run_id, RunStarted), (ids["b"], RunStarted), (gone, RunRolledBack)):
        for edit in (runs.update(thread_id, run_id, timeout=1), runs.move(thread_id, run_id, first=True)):
            with pytest.raises(refusal):
                await edit
    for other, refusal in ((held.run.run_id, RunStarted), ("unknown", RunNotFound), (ids["a"], InvalidField)):
        with pytest.raises(refusal):
            await runs.move(thread_id, ids["a"], before=other)
    with pytest.raises(RunNotFound):
        await runs.update("another", ids["a"], timeout=1)
    assert await runs.get(thread_id, held.run.run_id) == before
    await held.release()
    with pytest.raises(RunStarted):
        await runs.update(thread_id, held.run.run_id, timeout=1)
    assert (await runs.get(thread_id, ids["a"]))["revision"] == 0


async def test_nobody_overwrites_anothers_edit(hand: Service) -> None:
    thread_id, _, ids = await waiting(hand, "a")
    edits = [hand.client.runs.update(thread_id, ids["a"], input=said(str(n)), expected_revision=0) for n in range(10)]
    answers = await asyncio.gather(*edits, return_exceptions=True)
    assert sum(isinstance(answer, RevisionChanged) for answer in answers) == 9
    assert all(answer.revision == 1 for answer in answers if isinstance(answer, RevisionChanged))
    with pytest.raises(RevisionChanged):
        await hand.client.runs.move(thread_id, ids["a"], first=True, expected_revision=0)


@pytest.mark.parametrize(
    ("run", "place", "expected"),
    [
        ("c", {"first": True}, "cabd"),
        ("a", {"last": True}, "bcda"),
        ("d", {"before": "b"}, "adbc"),
        ("a", {"after": "c"}, "bcad"),
        ("b", {"after": "a"}, "abcd"),
        ("d", {"last": True}, "abcd"),
    ],
)
async def test_a_run_is_moved(hand: Service, run: str, place: Any, expected: str) -> None:
    thread_id, held, ids = await waiting(hand, *"abcd")
    place = {key: ids.get(value, value) if isinstance(value, str) else value for key, value in place.items()}
    moved = await hand.client.runs.move(thread_id, ids[run], **place)
    assert (moved["revision"], moved["queue_position"]) == (1, 1 + expected.index(run))
    assert await line(hand, thread_id) == list(expected)
    await hand.say(thread_id, "e", "enqueue", assistant=HAND)
    assert await line(hand, thread_id) == [*expected, "e"], "what comes later comes behind"
    await held.succeed()
    for _ in range(5):
        await (await claimed(hand, HAND)).succeed()
    assert await hand.contents(thread_id) == ["R", *expected, "e"]


async def test_moves_to_the_same_place_find_room_for_ever(hand: Service) -> None:
    thread_id, _, ids = await waiting(hand, *"abc")
    runs = hand.client.runs
    for _ in range(30):  # halves the room between two of them each time
        await runs.move(thread_id, ids["a"], after=ids["b"])
        assert await line(hand, thread_id) == ["b", "a", "c"]
        await runs.move(thread_id, ids["b"], after=ids["a"])
        assert await line(hand, thread_id) == ["a", "b", "c"]
    await runs.move(thread_id, ids["c"], first=True)
    assert await line(hand, thread_id) == ["c", "a", "b"]


async def test_a_delay_counts_from_now_and_what_is_due_later_waits_behind(tmp_path: Any) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "db", clock=clock) as service:
        await service.client.assistants.create(HAND, assistant_id=HAND)
        thread_id, _, ids = await waiting(service, "a", "b", start_within=20)
        clock.forward(3)
        edited = await service.client.runs.update(thread_id, ids["a"], delay=10)
        record: Any = await service.sqlite.run(ids["a"])
        assert (record.run.due_time, record.run.expire_time) == (clock.now + 10 * SECOND, clock.now + 30 * SECOND)
        assert edited["queue_position"] == 2
        assert await line(service, thread_id) == ["b", "a"]


async def test_what_was_merged_stays_when_the_input_is_edited(hand: Service) -> None:
    thread_id, held, _ = await waiting(hand, "a")
    merged = await hand.say(thread_id, "b", "enqueue", assistant=HAND, queue_policy="merge")
    edited = await hand.client.runs.update(thread_id, merged["run_id"], input=said("B"))
    assert edited["merged"] == merged["merged"] != []
    record: Any = await hand.sqlite.run(merged["run_id"])
    assert record.run.input_bytes == len(record.input) * 2
    await held.succeed()
    await (await claimed(hand, HAND)).succeed()
    assert await hand.contents(thread_id) == ["R", "a", "B"]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_all_are_cancelled_in_one_commit(hand: Service, action: Any) -> None:
    thread_id, held, _ = await waiting(hand, "a", "b", "c")
    await hand.say(thread_id, "later", "enqueue", assistant=HAND, delay=3600)
    cancelled = await hand.client.runs.cancel_all(thread_id, action=action)
    status = {"interrupt": "interrupted", "rollback": "deleted"}[action]
    assert [run["status"] for run in cancelled] == [status] * 5
    assert {run["reason"] for run in cancelled} == {"CANCELLED"}
    assert await hand.contents(thread_id) == (["R"] if action == "interrupt" else [])
    with pytest.raises(grpc.aio.AioRpcError):
        await held.commit()
    assert await hand.client.runs.cancel_all(thread_id) == []


async def test_only_those_of_a_status_are_cancelled(hand: Service) -> None:
    thread_id, held, ids = await waiting(hand, "a", "b")
    cancelled = await hand.client.runs.cancel_all(thread_id, statuses=["pending"])
    assert [run["run_id"] for run in cancelled] == [ids["a"], ids["b"]]
    await held.succeed("R1")
    with pytest.raises(InvalidField):
        await hand.client.runs.cancel_all(thread_id, statuses=["success"])
    with pytest.raises(ThreadNotFound):
        await hand.client.runs.cancel_all("unknown")


async def test_no_run_starts_on_a_thread_that_is_held(hand: Service) -> None:
    threads = hand.client.threads
    thread_id, held, _ = await waiting(hand, "a")
    thread = await threads.update(thread_id, held=True)
    assert (thread["held"], thread["status"]) == (True, "busy")
    steered = await hand.say(thread_id, "s", "steer", assistant=HAND)
    assert [each.run_id for each in (await held.beat()).steers] == [steered["run_id"]], "what runs goes on"
    await held.release()
    assert await claim(hand, HAND) is None, "what was handed back waits too"
    assert (await threads.update(thread_id, metadata={"m": 1}))["held"], "nothing else lets it go"
    assert not (await threads.update(thread_id, held=False))["held"]
    assert (await claimed(hand, HAND)).run.run_id == held.run.run_id
    kinds = [event["thread_changed"]["held"] async for event in told(hand, thread_id, 2, "thread_changed")]
    assert kinds == [True, False]


async def test_a_run_that_fails_holds_its_thread_where_that_is_wanted(hand: Service) -> None:
    thread_id, held, ids = await waiting(hand, "a", "b")
    assert (await hand.client.threads.update(thread_id, on_failure="hold"))["on_failure"] == "hold"
    await held.fail()
    assert (await hand.client.threads.get(thread_id))["held"]
    assert await claim(hand, HAND) is None
    await hand.client.threads.update(thread_id, held=False, on_failure="continue")
    await (await claimed(hand, HAND)).fail()
    assert not (await hand.client.threads.get(thread_id))["held"]
    assert (await claimed(hand, HAND)).run.run_id == ids["b"]


async def test_what_waits_on_a_held_thread_expires_all_the_same(tmp_path: Any) -> None:
    clock = TimerClock()
    async with serving(tmp_path / "db", clock=clock) as service:
        await service.client.assistants.create(HAND, assistant_id=HAND)
        thread_id, held, ids = await waiting(service, "a", start_within=5)
        await service.client.threads.update(thread_id, held=True, on_failure="hold")
        await held.succeed()
        joined = asyncio.create_task(service.client.runs.join(thread_id, ids["a"]))
        clock.forward(5)
        run = (await joined)["run"]
        assert (run["status"], run["reason"]) == ("timeout", "EXPIRED")
        await service.client.threads.update(thread_id, held=False)
        again = await service.say(thread_id, "c", "enqueue", assistant=HAND, start_within=5)
        await service.client.threads.update(thread_id, held=True)
        assert again["status"] == "pending"


async def test_a_place_must_be_named(hand: Service) -> None:
    _, _, ids = await waiting(hand, "a")
    stub: Any = RunServiceStub(hand.channel)
    for request in (pb.MoveRunRequest(run_id=ids["a"]), pb.MoveRunRequest(run_id=ids["a"], first=False)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.MoveRun(request)
        assert "place" in (refused.value.details() or "")
    with pytest.raises(ValueError, match="pass one of"):
        await hand.client.runs.move(None, ids["a"])


async def told(service: Service, thread_id: str, count: int, kind: str) -> Any:
    """So many of the thread's events of the kind."""
    async for event in service.client.threads.watch(thread_id):
        if event["kind"] == kind:
            yield event
            count -= 1
            if not count:
                return


async def test_edits_are_events_of_the_run_and_of_the_thread(hand: Service) -> None:
    thread_id, _, ids = await waiting(hand, "a", "b")
    await hand.client.runs.update(thread_id, ids["b"], timeout=9)
    await hand.client.runs.move(thread_id, ids["b"], first=True)
    events = [event async for event in told(hand, thread_id, 2, "run_edited")]
    assert [event["run_edited"] for event in events] == [
        {"revision": 1, "queue_position": 2},
        {"revision": 2, "queue_position": 1},
    ]
    assert {event["run_id"] for event in events} == {ids["b"]}
