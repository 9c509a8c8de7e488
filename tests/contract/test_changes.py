"""A change of the store: what its decision says is what is read, what is refused writes nothing, who hears of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from doubletext_server.store.protocol import RunRecord
from doubletext_statemachine import commands, errors
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import DEFAULT_REDUCERS
from doubletext_statemachine.words import CancelAction, Reason
from tests.support.clock import SECOND
from tests.support.store import INTERRUPT, REJECT, Hand, SqliteHand, everything


async def test_what_a_decision_says_of_the_thread_is_what_is_read(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r", given={"n": 1})
    await hand.claim()
    hand.clock.now += 5
    requests: list[commands.Command] = [
        commands.UpdateThread("t", {"metadata": '{"b":1}', "default_strategy": INTERRUPT, "max_queued_runs": 2}),
        commands.CommitStep("t", "r", 1, "{}"),
        hand.admission("new", strategy=INTERRUPT),
        commands.AcknowledgeStop("t", "r", 1),
        commands.UpdateThread("t", {"default_strategy": None, "max_queued_runs": None}),
    ]
    for request in requests:
        decision = await hand.change(request)
        assert decision.thread == (await hand.store.thread("t")).thread


async def test_what_a_decision_says_of_a_run_is_what_is_read_at_each_move(hand: Hand) -> None:
    await hand.create()
    common: dict[str, Any] = {"given": {"n": [1, "é"]}, "metadata": '{"m":1}', "timeout": 60 * SECOND, "delay": 3}
    moves: list[Callable[[], Awaitable[Decision]]] = [
        partial(hand.admit, "r", **common),
        partial(hand.change, commands.ClaimRun("t", frozenset({"g"}))),
        partial(hand.change, commands.CommitStep("t", "r", 1, "{}")),
        partial(hand.change, commands.ReleaseRun("t", "r", 1)),
        partial(hand.change, commands.ClaimRun("t", frozenset({"g"}))),
        partial(hand.change, commands.Recover("t")),
        partial(hand.change, commands.ClaimRun("t", frozenset({"g"}))),
        partial(hand.change, commands.FailRun("t", "r", 3, "ValueError", "no\n'such'")),
    ]
    statuses = []
    for move in moves:
        decision = await move()
        hand.clock.now += 7
        record = await hand.record("r")
        assert record.run == decision.run
        assert (record.input, record.metadata) == ('{"n":[1,"\\u00e9"]}', '{"m":1}')
        statuses.append(record.run.status.value)
    assert statuses == ["pending", "running", "running", "pending", "running", "pending", "running", "error"]
    await hand.reopen()
    assert await hand.record("r") == record


async def test_superseded_runs_are_read_with_their_cause_in_order_of_their_sequence(hand: Hand) -> None:
    await hand.create()
    await hand.admit("d")
    await hand.claim()
    for name in "bac":
        await hand.admit(name)
    decision = await hand.admit("new", strategy=INTERRUPT)
    records = await hand.store.superseded_by("new")
    assert [record.run for record in records if isinstance(record, RunRecord)] == decision.superseded
    assert [run.run_id for run in decision.superseded] == ["d", "b", "a", "c"]
    assert {(run.superseded_by, run.reason) for run in decision.superseded} == {("new", Reason.SUPERSEDED)}
    assert [record.event.run_id for record in (await hand.events())[-5:]] == ["new", "d", "b", "a", "c"]
    assert await hand.store.superseded_by("d") == []


async def test_pending_runs_have_a_place_in_line_and_others_none(hand: Hand) -> None:
    await hand.create()
    await hand.admit("first")
    await hand.claim()
    await hand.admit("delayed", delay=10)
    await hand.admit("prompt")
    page = await hand.store.runs("t", [], True, 10, None)
    places = {"first": 0, "delayed": 2, "prompt": 1}
    assert {record.run.run_id: record.queue_position for record in page.items} == places
    assert {name: (await hand.record(name)).queue_position for name in places} == places
    hand.clock.now += 10
    assert (await hand.record("delayed")).queue_position == 1


async def test_what_is_not_there_is_not_found(hand: Hand) -> None:
    await hand.create()
    await hand.update({})
    assert await hand.store.run("r") is None
    assert await hand.store.events("nobody", 0, 10) == []
    for reading in (
        hand.store.thread("nobody"),
        hand.store.runs("nobody", [], True, 10, None),
        hand.store.state("nobody"),
        hand.store.start_of("nobody", "r"),
        hand.store.states("nobody", 10, None),
        hand.change(commands.DeleteThread("nobody")),
    ):
        with pytest.raises(errors.ThreadNotFound):
            await reading
    for step in (-1, 2):
        with pytest.raises(errors.StepNotFound) as refused:
            await hand.store.state("t", step)
        assert refused.value.facts == {"thread_id": "t", "step": str(step), "last_step": "1"}


async def test_a_run_is_found_only_on_its_own_thread_by_a_change(hand: Hand) -> None:
    await hand.create("t")
    await hand.create("u")
    await hand.admit("r", "t")
    for request in (commands.CancelRun("u", "r", CancelAction.INTERRUPT), commands.DeleteRun("u", "r")):
        with pytest.raises(errors.RunNotFound):
            await hand.change(request)
    await hand.cancel("r", rollback=True)
    with pytest.raises(errors.RunNotFound):
        await hand.change(commands.CancelRun("u", "r", CancelAction.INTERRUPT))


async def test_a_refused_change_writes_nothing_at_all(sqlite: SqliteHand) -> None:
    await sqlite.create(max_queued_runs=1)
    await sqlite.admit("r", request_id="q", digest="d")
    await sqlite.claim()
    await sqlite.admit("p")
    sqlite.clock.now += 1
    before = everything(sqlite.path)
    refusals: list[tuple[commands.Command, type[errors.Refusal]]] = [
        (sqlite.admission("new", strategy=REJECT), errors.ThreadBusy),
        (sqlite.admission("new"), errors.QueueFull),
        (sqlite.admission("new", request_id="q", digest="other"), errors.RequestIdReused),
        (replace(sqlite.admission("new", "u", create_thread=True), assistant=None), errors.AssistantNotFound),
        (commands.CommitStep("t", "r", 9, "{}"), errors.LeaseLost),
        (commands.UpdateState("t", "{}", DEFAULT_REDUCERS), errors.ThreadInFlight),
        (commands.DeleteRun("t", "r"), errors.RunInFlight),
        (commands.CreateThread("t"), errors.ThreadExists),
    ]
    for request, refusal in refusals:
        with pytest.raises(refusal):
            await sqlite.change(request)
    await asyncio.gather(*(sqlite.change(request) for request, _ in refusals), return_exceptions=True)
    assert everything(sqlite.path) == before


async def test_a_request_that_changes_nothing_writes_nothing(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.run_through("done", request_id="q", digest="d")
    await sqlite.admit("r")
    await sqlite.claim()
    requests: list[commands.Command] = [
        commands.Tick("t"),
        commands.ClaimRun("t", frozenset({"g"})),
        commands.CancelRun("t", "done", CancelAction.ROLLBACK),
        commands.AcknowledgeStop("t", "done", 1),
        sqlite.admission("ignored", request_id="q", digest="d"),
        *(kind("nobody") for kind in (commands.Tick, commands.Recover)),
        commands.ClaimRun("nobody", frozenset({"g"})),
    ]
    before = sqlite.sqlite.writer._connection.total_changes
    for request in requests:
        assert not (await sqlite.change(request)).writes
    assert sqlite.sqlite.writer._connection.total_changes == before


async def test_a_repeated_request_is_recognised_after_reopening_too(hand: Hand) -> None:
    await hand.create()
    await hand.create("u")
    await hand.admit("r", request_id="q", digest="d")
    for _ in range(2):
        decision = await hand.admit("ignored", strategy=INTERRUPT, request_id="q", digest="d")
        assert (decision.repeated, decision.writes) == ("r", False)
        with pytest.raises(errors.RequestIdReused):
            await hand.admit("ignored", request_id="q", digest="other")
        await hand.reopen()
    assert await hand.store.run("ignored") is None
    assert (await hand.admit("elsewhere", "u", request_id="q", digest="d")).repeated is None


async def test_the_listener_hears_each_decision_after_its_commit_and_in_order(hand: Hand) -> None:
    heard: list[tuple[str, int]] = []

    def listen(thread_id: str, decision: Decision) -> None:
        assert decision.thread is not None
        heard.append((thread_id, decision.thread.last_event))

    hand.changes.listeners.append(listen)
    await hand.create("t")
    await hand.create("u")
    changes = [hand.update({}, "tu"[number % 2]) for number in range(20)]
    with pytest.raises(errors.ThreadExists):
        await hand.create("t")
    await asyncio.gather(*changes)
    assert [event for thread_id, event in heard if thread_id == "t"] == list(range(11))
    assert [event for thread_id, event in heard if thread_id == "u"] == list(range(11))


async def test_a_listener_that_fails_harms_neither_the_caller_nor_the_next(hand: Hand) -> None:
    def listen(thread_id: str, decision: Decision) -> None:
        raise RuntimeError("a bug")

    hand.changes.listeners.append(listen)
    await hand.create("t")
    await asyncio.gather(hand.update({"a": 1}), hand.update({"b": 2}))
    assert await hand.values() == {"a": 1, "b": 2}


async def test_time_never_runs_backwards_for_the_arbiter(hand: Hand) -> None:
    await hand.create()
    hand.clock.now += 100
    later = hand.clock.now
    await hand.update({})
    hand.clock.now -= 50
    await hand.update({})
    assert (await hand.store.thread("t")).thread.update_time == later
    assert [state.create_time for state in (await hand.store.states("t", 10, None)).items] == [later, later]
