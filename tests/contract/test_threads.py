"""A thread's record: as it was made, with its status, what runs on it, and whether it is settled."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.model import Thread
from doubletext_statemachine.words import RunStatus, ThreadStatus
from tests.support.store import ROLLBACK, Hand


async def test_a_thread_is_read_as_it_was_made_also_after_reopening(hand: Hand) -> None:
    await hand.create(metadata='{"a":"é"}', default_strategy=ROLLBACK, max_queued_runs=7)
    expected = Thread("t", hand.clock.now, hand.clock.now, '{"a":"é"}', ROLLBACK, 7)
    for _ in range(2):
        record = await hand.store.thread("t")
        assert record.thread == expected
        assert (record.status, record.active_run_id, record.queued_runs) == (ThreadStatus.IDLE, None, 0)
        await hand.reopen()


@pytest.mark.parametrize(
    ("play", "status"),
    [
        (("admit",), "busy"),
        (("admit", "claim"), "busy"),
        (("admit", "claim", "succeed"), "idle"),
        (("admit", "claim", "fail"), "error"),
        (("admit", "claim", "time out"), "error"),
        (("admit", "claim", "cancel"), "interrupted"),
        (("admit", "cancel"), "interrupted"),
        (("admit", "claim", "roll back"), "idle"),
        (("admit", "claim", "fail", "roll back another"), "error"),
        (("admit", "claim", "cancel another", "succeed"), "idle"),
        (("admit", "claim", "fail", "admit another"), "busy"),
        (("admit", "claim", "fail", "delete"), "idle"),
    ],
)
async def test_a_threads_status_follows_from_its_runs(hand: Hand, play: tuple[str, ...], status: str) -> None:
    await hand.create()

    async def another(then: str) -> None:
        await hand.admit("s")
        if then != "admit another":
            await hand.cancel("s", rollback=then == "roll back another")

    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "admit": lambda: hand.admit("r", timeout=1),
        "claim": hand.claim,
        "succeed": lambda: hand.succeed("r"),
        "fail": lambda: hand.change(commands.FailRun("t", "r", 1, "E", "m")),
        "time out": lambda: hand.change(commands.Tick("t")),
        "cancel": lambda: hand.cancel("r"),
        "roll back": lambda: hand.cancel("r", rollback=True),
        "delete": lambda: hand.change(commands.DeleteRun("t", "r")),
        **{name: partial(another, name) for name in ("admit another", "cancel another", "roll back another")},
    }
    for act in play:
        await acts[act]()
        hand.clock.now += 1
    record = await hand.store.thread("t")
    assert record.status.value == status
    for wanted in ThreadStatus:
        found = (await hand.store.threads([wanted], 10, None)).items
        assert [each.thread.thread_id for each in found] == (["t"] if wanted.value == status else [])


async def test_a_thread_says_what_runs_on_it_and_how_many_wait(hand: Hand) -> None:
    await hand.create()
    for name in "abc":
        await hand.admit(name)
    record = await hand.store.thread("t")
    assert (record.active_run_id, record.queued_runs) == (None, 3)
    await hand.claim()
    record = await hand.store.thread("t")
    assert (record.active_run_id, record.queued_runs) == ("a", 2)


async def test_threads_with_runs_in_flight_or_stopped_attempts_are_unsettled(hand: Hand) -> None:
    for name in ("idle", "pending", "running", "done", "stopped"):
        await hand.create(name)
        if name != "idle":
            await hand.admit(name, name)
        if name in ("running", "done", "stopped"):
            await hand.claim(name)
    await hand.succeed("done", "done")
    await hand.cancel("stopped", "stopped")
    assert sorted(await hand.store.unsettled()) == ["pending", "running", "stopped"]
    await hand.change(commands.AcknowledgeStop("stopped", "stopped", 1))
    assert sorted(await hand.store.unsettled()) == ["pending", "running"]


async def test_runs_in_flight_are_counted_over_all_threads_by_their_status(hand: Hand) -> None:
    assert await hand.store.in_flight() == {RunStatus.PENDING: 0, RunStatus.RUNNING: 0}
    for thread_id in ("t", "u"):
        await hand.create(thread_id)
        for name in ("first", "second", "third"):
            await hand.admit(f"{name} of {thread_id}", thread_id)
        await hand.claim(thread_id)
    assert await hand.store.in_flight() == {RunStatus.PENDING: 4, RunStatus.RUNNING: 2}
    await hand.succeed("first of t", "t")
    await hand.cancel("second of t", "t", rollback=True)
    assert await hand.store.in_flight() == {RunStatus.PENDING: 3, RunStatus.RUNNING: 1}
