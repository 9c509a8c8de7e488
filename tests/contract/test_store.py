"""What server.store.base asks of every store; at the end, what is asked of the one on SQLite besides."""

import asyncio
import copy
import random
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from server.store import lane, reads, writes
from server.store import sqlite as store_module
from server.store.base import RunRecord, State
from statemachine import errors
from statemachine import requests as ask
from statemachine.draft import Decision
from statemachine.model import (
    DEFAULT_REDUCERS,
    Assistant,
    Output,
    Reducers,
    RunChanged,
    StepCommitted,
    Thread,
    Tombstone,
)
from statemachine.state import fold
from statemachine.status import CancelAction, Reason, Reducer, RunStatus, Strategy, ThreadStatus
from tests.contract.conftest import SECOND, Hand, SqliteHand, everything, pages, tables_with, text

S = RunStatus
ENQUEUE, REJECT, INTERRUPT, ROLLBACK = Strategy.ENQUEUE, Strategy.REJECT, Strategy.INTERRUPT, Strategy.ROLLBACK


# Change, and read back


async def test_a_thread_is_read_as_it_was_made_also_after_reopening(hand: Hand) -> None:
    await hand.create(metadata='{"a":"é"}', default_strategy=ROLLBACK, max_queued_runs=7)
    expected = Thread("t", hand.clock.now, hand.clock.now, '{"a":"é"}', ROLLBACK, 7)
    for _ in range(2):
        record = await hand.store.thread("t")
        assert record.thread == expected
        assert (record.status, record.active_run_id, record.queued_runs) == (ThreadStatus.IDLE, None, 0)
        await hand.reopen()


async def test_what_a_decision_says_of_the_thread_is_what_is_read(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r", given={"n": 1})
    await hand.claim()
    hand.clock.now += 5
    requests: list[ask.Request] = [
        ask.UpdateThread("t", {"metadata": '{"b":1}', "default_strategy": INTERRUPT, "max_queued_runs": 2}),
        ask.CommitStep("t", "r", 1, "{}"),
        hand.admission("new", strategy=INTERRUPT),
        ask.AcknowledgeStop("t", "r", 1),
        ask.UpdateThread("t", {"default_strategy": None, "max_queued_runs": None}),
    ]
    for request in requests:
        decision = await hand.store.change(request)
        assert decision.thread == (await hand.store.thread("t")).thread


async def test_what_a_decision_says_of_a_run_is_what_is_read_at_each_move(hand: Hand) -> None:
    await hand.create()
    common: dict[str, Any] = {"given": {"n": [1, "é"]}, "metadata": '{"m":1}', "timeout": 60 * SECOND, "delay": 3}
    moves: list[Callable[[], Awaitable[Decision]]] = [
        partial(hand.admit, "r", **common),
        partial(hand.store.change, ask.ClaimRun("t", frozenset({"g"}))),
        partial(hand.store.change, ask.CommitStep("t", "r", 1, "{}")),
        partial(hand.store.change, ask.ReleaseRun("t", "r", 1)),
        partial(hand.store.change, ask.ClaimRun("t", frozenset({"g"}))),
        partial(hand.store.change, ask.Recover("t")),
        partial(hand.store.change, ask.ClaimRun("t", frozenset({"g"}))),
        partial(hand.store.change, ask.FailRun("t", "r", 3, "ValueError", "no\n'such'")),
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
        hand.store.raw_state("nobody"),
        hand.store.states("nobody", 10, None),
        hand.store.change(ask.DeleteThread("nobody")),
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
    for request in (ask.CancelRun("u", "r", CancelAction.INTERRUPT), ask.DeleteRun("u", "r")):
        with pytest.raises(errors.RunNotFound):
            await hand.store.change(request)
    await hand.cancel("r", rollback=True)
    with pytest.raises(errors.RunNotFound):
        await hand.store.change(ask.CancelRun("u", "r", CancelAction.INTERRUPT))


async def test_a_refused_change_writes_nothing_at_all(sqlite: SqliteHand) -> None:
    await sqlite.create(max_queued_runs=1)
    await sqlite.admit("r", request_id="q", digest="d")
    await sqlite.claim()
    await sqlite.admit("p")
    sqlite.clock.now += 1
    before = everything(sqlite.path)
    refusals: list[tuple[ask.Request, type[errors.Refusal]]] = [
        (sqlite.admission("new", strategy=REJECT), errors.ThreadBusy),
        (sqlite.admission("new"), errors.QueueFull),
        (sqlite.admission("new", request_id="q", digest="other"), errors.RequestIdReused),
        (replace(sqlite.admission("new", "u", create_thread=True), assistant=None), errors.AssistantNotFound),
        (ask.CommitStep("t", "r", 9, "{}"), errors.LeaseLost),
        (ask.UpdateState("t", "{}", DEFAULT_REDUCERS), errors.ThreadInFlight),
        (ask.DeleteRun("t", "r"), errors.RunInFlight),
        (ask.CreateThread("t"), errors.ThreadExists),
    ]
    for request, refusal in refusals:
        with pytest.raises(refusal):
            await sqlite.store.change(request)
    await asyncio.gather(*(sqlite.store.change(request) for request, _ in refusals), return_exceptions=True)
    assert everything(sqlite.path) == before


async def test_a_request_that_changes_nothing_writes_nothing(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.run_through("done", request_id="q", digest="d")
    await sqlite.admit("r")
    await sqlite.claim()
    requests: list[ask.Request] = [
        ask.Tick("t"),
        ask.ClaimRun("t", frozenset({"g"})),
        ask.CancelRun("t", "done", CancelAction.ROLLBACK),
        ask.AcknowledgeStop("t", "done", 1),
        sqlite.admission("ignored", request_id="q", digest="d"),
        *(kind("nobody") for kind in (ask.Tick, ask.Recover)),
        ask.ClaimRun("nobody", frozenset({"g"})),
    ]
    before = sqlite.sqlite.writer.total_changes
    for request in requests:
        assert not (await sqlite.store.change(request)).writes
    assert sqlite.sqlite.writer.total_changes == before


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

    hand.store.on_commit = listen
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

    hand.store.on_commit = listen
    await hand.create("t")
    await asyncio.gather(hand.update({"a": 1}), hand.update({"b": 2}))
    assert await hand.values() == {"a": 1, "b": 2}


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
        "fail": lambda: hand.store.change(ask.FailRun("t", "r", 1, "E", "m")),
        "time out": lambda: hand.store.change(ask.Tick("t")),
        "cancel": lambda: hand.cancel("r"),
        "roll back": lambda: hand.cancel("r", rollback=True),
        "delete": lambda: hand.store.change(ask.DeleteRun("t", "r")),
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
    await hand.store.change(ask.AcknowledgeStop("stopped", "stopped", 1))
    assert sorted(await hand.store.unsettled()) == ["pending", "running"]


async def test_time_never_runs_backwards_for_the_arbiter(hand: Hand) -> None:
    await hand.create()
    hand.clock.now += 100
    later = hand.clock.now
    await hand.update({})
    hand.clock.now -= 50
    await hand.update({})
    assert (await hand.store.thread("t")).thread.update_time == later
    assert [state.create_time for state in (await hand.store.states("t", 10, None)).items] == [later, later]


# What a rollback leaves


async def test_a_rolled_back_run_leaves_a_tombstone_of_ids_times_and_the_cause(hand: Hand) -> None:
    await hand.create()
    for name in "ab":
        await hand.admit(name, given={"secret": 1}, metadata='{"secret":2}')
        hand.clock.now += 1
    await hand.claim()
    created = hand.clock.now - 2
    hand.clock.now += 10
    decision = await hand.admit("c", strategy=ROLLBACK)
    assert [run.status for run in decision.superseded] == [S.DELETED, S.DELETED]
    now = hand.clock.now
    graves = [
        Tombstone("a", "t", "c", Reason.SUPERSEDED, created, now),
        Tombstone("b", "t", "c", Reason.SUPERSEDED, created + 1, now),
    ]
    await hand.cancel("c", rollback=True)
    for _ in range(2):
        assert await hand.store.superseded_by("c") == graves
        assert [await hand.buried("a"), await hand.buried("b")] == graves
        assert await hand.buried("c") == Tombstone("c", "t", None, Reason.CANCELLED, now, now)
        assert (await hand.store.runs("t", [], True, 10, None)).items == []
        await hand.reopen()


async def test_the_state_after_a_rollback_is_the_state_before_the_run(hand: Hand) -> None:
    await hand.create()
    await hand.run_through("old", {"messages": [{"id": "1"}]}, given={"messages": ["hi"]})
    before = await hand.store.state("t")
    await hand.admit("r", given={"messages": ["again"]})
    await hand.claim()
    await hand.commit("r", {"messages": [{"id": "1", "content": "changed"}], "key": 1})
    await hand.admit("new", strategy=ROLLBACK)
    assert await hand.store.state("t") == before
    with pytest.raises(errors.StepNotFound):
        await hand.store.state("t", before.step + 1)
    assert [state.run_id for state in (await hand.store.states("t", 10, None)).items] == ["old", "old"]


async def test_a_run_that_ended_without_having_run_left_what_remains_of_the_state_it_saw(hand: Hand) -> None:
    await hand.create()
    await hand.admit("first")
    await hand.cancel("first")
    await hand.run_through("old", {})
    await hand.admit("second")
    await hand.cancel("second")
    await hand.admit("r")
    await hand.claim()
    await hand.commit("r", {})
    await hand.admit("third")
    await hand.cancel("third")
    left = ("first", "old", "second", "third")
    assert [(await hand.record(name)).run.left_state_at for name in left] == [0, 2, 2, 4]
    await hand.create("u")
    await hand.run_through("other", {}, {}, thread_id="u")
    await hand.admit("elsewhere", "u")
    await hand.cancel("elsewhere", "u")
    await hand.cancel("r", rollback=True)
    assert [(await hand.record(name)).run.left_state_at for name in left] == [0, 2, 2, 2]
    assert (await hand.record("elsewhere")).run.left_state_at == 3


MARKER: Final = "b1d94e07f3"
SIZES: Final = (0, 100, 5_000, 70_000)
"""From a cell of a page to pages of one cell's own; the last makes the state due for a snapshot."""


async def mark(hand: Hand, run_id: str, thread_id: str = "t") -> None:
    """A running run whose marker stands wherever content can stand."""
    marked = {run_id: f"{MARKER} {run_id}"}
    await hand.admit(run_id, thread_id, given=marked, metadata=text(marked))
    await hand.claim(thread_id)
    for size in SIZES:
        await hand.commit(run_id, {f"{run_id} {size}": MARKER + "x" * size}, thread_id)
        await hand.publish(run_id, "tokens", {"t": MARKER + "y" * size}, thread_id)
    await hand.store.state(thread_id)  # makes a snapshot


async def handed_back_and_cancelled(hand: Hand) -> None:
    await hand.store.change(ask.Recover("t"))
    await hand.cancel("r", rollback=True)


ROLLBACKS: Final[dict[str, Callable[[Hand], Awaitable[object]]]] = {
    "superseded": lambda hand: hand.admit("new", strategy=ROLLBACK),
    "cancelled": lambda hand: hand.cancel("r", rollback=True),
    "handed back first": handed_back_and_cancelled,
    "thread deleted": lambda hand: hand.store.change(ask.DeleteThread("t")),
}


async def snapshots(hand: SqliteHand, thread_id: str = "t") -> list[int]:
    """The steps of which there are snapshots, once those in the making are made."""
    while hand.sqlite._snapshotting:
        await asyncio.gather(*hand.sqlite._snapshotting.values())
        await asyncio.sleep(0)
    rows = everything(hand.path)["snapshots"]
    return sorted(step for thread, step, _ in rows if thread == thread_id)


@pytest.mark.parametrize("how", list(ROLLBACKS))
async def test_a_rollback_leaves_nothing_of_the_run_in_any_table_nor_in_the_bytes_of_the_file(
    sqlite: SqliteHand, how: str
) -> None:
    await sqlite.create()
    await sqlite.create("other")
    await sqlite.run_through("before", {"kept": "keepsake"}, given={"kept": "keepsake"})
    await mark(sqlite, "r")
    await sqlite.admit("waiting", given={"w": MARKER}, metadata=text({"w": MARKER}))
    assert await snapshots(sqlite) == [7]
    assert tables_with(sqlite.path, MARKER) == ["runs", "steps", "snapshots", "events"]

    await ROLLBACKS[how](sqlite)
    if how in ("cancelled", "handed back first"):
        await sqlite.cancel("waiting", rollback=True)
    await sqlite.update({"kept": "keepsake"}, "other")
    assert tables_with(sqlite.path, MARKER) == []
    assert await snapshots(sqlite) == []
    await sqlite.close()
    content = sqlite.path.read_bytes()
    assert MARKER.encode() not in content
    assert b"keepsake" in content


async def test_what_was_rolled_back_is_nowhere_in_the_file_after_any_mix_of_steps_and_outputs(
    sqlite: SqliteHand,
) -> None:
    dice = random.Random(1)
    names = [f"t{number}" for number in range(12)]
    for name in names:
        await sqlite.create(name)
    alive: dict[str, str] = {}
    for turn in range(150):
        name = dice.choice(names)
        run = alive.get(name)
        if run is None:
            run = alive[name] = f"r{turn}"
            marked = {run: MARKER + "z" * dice.choice([0, 50, 700])}
            await sqlite.admit(run, name, given=marked, metadata=text(marked))
            await sqlite.claim(name)
        changes: list[Awaitable[object]] = []
        for _ in range(dice.randrange(12)):
            size = dice.choice([0, 30, 300, 1_000, 3_000, 9_000])
            changes.append(sqlite.commit(run, {run: MARKER + "x" * size}, name))
            changes.append(sqlite.publish(run, "c", {"o": MARKER + "y" * size}, name))
        await asyncio.gather(*changes)
        if dice.random() < 0.3:
            await sqlite.cancel(alive.pop(name), name, rollback=True)
            await sqlite.store.change(ask.Recover(name))
    for name, run in alive.items():
        await sqlite.cancel(run, name, rollback=True)
    assert tables_with(sqlite.path, MARKER) == []
    await sqlite.close()
    assert MARKER.encode() not in sqlite.path.read_bytes()


async def test_an_interrupt_keeps_every_step_and_the_input(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r", given={"a": 1})
    await hand.claim()
    await hand.commit("r", {"b": 2})
    await hand.admit("new", strategy=INTERRUPT)
    assert await hand.values() == {"a": 1, "b": 2}
    assert (await hand.record("r")).input == '{"a":1}'


async def test_deleting_a_runs_record_leaves_its_steps(hand: Hand) -> None:
    await hand.create()
    await hand.run_through("r", {"b": 2}, given={"a": 1})
    events = await hand.events()
    await hand.store.change(ask.DeleteRun("t", "r"))
    assert await hand.store.run("r") is None
    assert await hand.values() == {"a": 1, "b": 2}
    assert await hand.events() == events


async def test_a_deleted_thread_takes_all_that_was_on_it_and_nothing_else(sqlite: SqliteHand) -> None:
    await sqlite.create("kept")
    await sqlite.run_through("k", {"k": 1}, thread_id="kept")
    before = everything(sqlite.path)
    await sqlite.create("t")
    await sqlite.run_through("r", {"a": 1}, request_id="q")
    await sqlite.admit("s")
    await sqlite.cancel("s", rollback=True)
    await mark(sqlite, "big")
    await snapshots(sqlite)
    await sqlite.store.change(ask.DeleteThread("t"))
    assert everything(sqlite.path) == before
    assert await sqlite.store.run("s") is None
    await sqlite.create("t")
    assert await sqlite.events() == []


# Pages


async def test_threads_come_newest_first_in_pages_while_others_come_and_go(hand: Hand) -> None:
    names = [f"t{number:02}" for number in range(20)]
    for number, name in enumerate(names):
        hand.clock.now += number % 3 == 0  # of the same age by threes
        await hand.create(name)
    gone = iter(["t19", "t05", "t10", "t00"])
    born = iter(range(100))

    async def meanwhile() -> None:
        hand.clock.now += 1
        await hand.create(f"new{next(born)}")
        if (name := next(gone, None)) is not None:
            await hand.store.change(ask.DeleteThread(name))

    read: list[str] = []
    sizes = []
    async for page in pages(lambda after: hand.store.threads([], 3, after), meanwhile):
        read += [record.thread.thread_id for record in page]
        sizes.append(len(page))
    expected = [name for name in reversed(names) if name not in ("t05", "t10", "t00")]
    assert read == expected
    assert set(sizes[:-1]) == {3}


async def test_threads_are_paged_by_status_with_full_pages(hand: Hand) -> None:
    for number in range(12):
        await hand.create(f"t{number:02}")
        if number % 3 == 0:
            await hand.admit(f"r{number}", f"t{number:02}")
    read = [
        [record.thread.thread_id for record in page]
        async for page in pages(lambda after: hand.store.threads([ThreadStatus.BUSY], 2, after))
    ]
    assert read == [["t09", "t06"], ["t03", "t00"]]


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_runs_come_by_sequence_in_pages_while_others_come_and_go(hand: Hand, oldest_first: bool) -> None:
    await hand.create()
    await hand.create("other")
    names = [f"r{number:02}" for number in range(12)]
    for name in names:
        await hand.admit(name)
        await hand.admit(f"other {name}", "other")
        await hand.cancel(name)
    gone = iter(["r11", "r04", "r07", "r00"])
    born = iter(range(100))

    async def meanwhile() -> None:
        name = f"new{next(born)}"
        await hand.admit(name)
        await hand.cancel(name)
        if (name := next(gone, "")) != "":
            await hand.store.change(ask.DeleteRun("t", name))

    read: list[str] = []
    async for page in pages(lambda after: hand.store.runs("t", [], oldest_first, 3, after), meanwhile):
        read += [record.run.run_id for record in page]
        if len(read) > 40:
            break  # oldest first, new ones keep coming
    assert len(read) == len(set(read))
    left = [name for name in names if name not in ("r11", "r04", "r07", "r00")]
    assert [name for name in read if name in left] == (left if oldest_first else left[::-1])
    if not oldest_first:
        assert not any(name.startswith("new") for name in read)


async def test_runs_are_paged_by_status(hand: Hand) -> None:
    await hand.create()
    for number in range(6):
        await hand.admit(f"r{number}")
        if number % 2:
            await hand.cancel(f"r{number}")
    for statuses, expected in (
        ([S.INTERRUPTED], [["r5", "r3"], ["r1"]]),
        ([S.PENDING], [["r4", "r2"], ["r0"]]),
        ([S.SUCCESS], [[]]),
        ([S.DELETED], [[]]),
        ([S.PENDING, S.INTERRUPTED], [["r5", "r4"], ["r3", "r2"], ["r1", "r0"]]),
    ):
        read = partial(hand.store.runs, "t", statuses, False, 2)
        assert [[record.run.run_id for record in page] async for page in pages(read)] == expected


async def test_a_page_of_large_runs_ends_before_it_is_too_large_to_send(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "LARGEST_PAGE", 1_000)
    await hand.create()
    for number in range(6):
        await hand.admit(f"r{number}", given={"x": "x" * 480})
        await hand.cancel(f"r{number}")
    read = [
        [record.run.run_id for record in page]
        async for page in pages(lambda after: hand.store.runs("t", [], True, 100, after))
    ]
    assert [name for page in read for name in page] == [f"r{number}" for number in range(6)]
    assert {len(page) for page in read[:-1]} == {3}


async def test_states_come_newest_first_in_pages_down_to_step_one(hand: Hand) -> None:
    await hand.create()
    for number in range(1, 8):
        await hand.update({"n": number})
    read = [page async for page in pages(lambda after: hand.store.states("t", 3, after))]
    assert [[state.step for state in page] for page in read] == [[7, 6, 5], [4, 3, 2], [1]]
    assert all(state.values == {"n": state.step} for page in read for state in page)
    for state in (state for page in read for state in page):
        assert state == await hand.store.state("t", state.step)


async def test_a_thread_without_steps_has_one_empty_page_of_states_and_an_empty_state(hand: Hand) -> None:
    await hand.create()
    page = await hand.store.states("t", 3, None)
    assert (page.items, page.next) == ([], None)
    assert await hand.store.state("t") == State("t", 0, None, hand.clock.now, {})


async def test_states_that_were_added_or_rolled_back_between_pages_are_not_read_twice(hand: Hand) -> None:
    await hand.create()
    for number in range(1, 6):
        await hand.update({"n": number})
    await hand.admit("r", given={"n": 6})
    await hand.claim()
    for number in range(7, 11):
        await hand.commit("r", {"n": number})
    acts: Iterator[Awaitable[object]] = iter([hand.commit("r", {"n": 11}), hand.cancel("r", rollback=True)])

    async def meanwhile() -> None:
        for act in acts:
            await act
            return

    read = [page async for page in pages(lambda after: hand.store.states("t", 2, after), meanwhile)]
    assert [[state.step for state in page] for page in read] == [[10, 9], [8, 7], [5, 4], [3, 2], [1]]
    assert all(state.values == {"n": state.step} for page in read for state in page)


async def test_a_page_of_large_states_ends_before_it_is_too_large_to_send(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "LARGEST_PAGE", 1_000)
    await hand.create()
    for number in range(1, 8):
        await hand.update({"n": number, f"x{number}": "x" * 200})
    read = [page async for page in pages(lambda after: hand.store.states("t", 100, after))]
    assert [state.step for page in read for state in page] == [7, 6, 5, 4, 3, 2, 1]
    assert len(read) > 1
    for state in (state for page in read for state in page):
        assert state == await hand.store.state("t", state.step)


# States


class Log:
    """The steps of a thread as a test makes them, folded plainly: what every reading of a state must come to."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, Any], Reducers]] = []

    def state(self, step: int) -> dict[str, Any]:
        return fold({}, copy.deepcopy(self.steps[:step]))

    async def agrees(self, hand: Hand) -> None:
        """GetState at every step, twice since the first reading may make a snapshot, and ListStates."""
        for _ in range(2):
            for step in range(len(self.steps) + 1):
                assert await hand.values(step) == self.state(step), step
        read = [page async for page in pages(lambda after: hand.store.states("t", 4, after))]
        listed = {state.step: state.values for page in read for state in page}
        assert listed == {step: self.state(step) for step in range(1, len(self.steps) + 1)}
        raw = await hand.store.raw_state("t")
        assert reads.read_values(raw) == self.state(len(self.steps))


def message(number: int, size: int = 9_000) -> dict[str, Any]:
    """One message that replaces another, and one that is told twice if its step is folded twice."""
    return {"messages": [{"id": str(number % 7), "content": "é" * size, "n": number}, {"n": number}], "n": number}


async def test_every_state_is_the_plain_fold_of_its_steps_before_and_after_a_rollback_below_a_snapshot(
    sqlite: SqliteHand,
) -> None:
    log = Log()
    await sqlite.create()
    mixed: list[Reducers] = [DEFAULT_REDUCERS, {"messages": Reducer.APPEND, "n": Reducer.APPEND}, {}]
    for number in range(10):
        reducers = mixed[0 if number < 6 else number % 3]
        await sqlite.update(message(number), reducers=reducers)
        log.steps.append((message(number), reducers))
    await log.agrees(sqlite)
    first = await snapshots(sqlite)
    assert first, "the state is large enough for a snapshot"

    await sqlite.admit("r", given=message(50))
    await sqlite.claim()
    before = copy.deepcopy(log.steps)
    log.steps.append((message(50), DEFAULT_REDUCERS))
    for number in range(51, 75):
        await sqlite.commit("r", message(number))
        log.steps.append((message(number), DEFAULT_REDUCERS))
    await log.agrees(sqlite)
    above = [step for step in await snapshots(sqlite) if step > len(before)]
    assert above, "a snapshot stands above the step to which is cut"

    await sqlite.admit("new", strategy=ROLLBACK)
    log.steps = before
    assert not set(await snapshots(sqlite)) & set(above)
    await log.agrees(sqlite)
    await sqlite.store.change(ask.AcknowledgeStop("t", "r", 1))
    await sqlite.claim()
    log.steps.append(({}, DEFAULT_REDUCERS))
    for number in range(80, 100):
        await sqlite.commit("new", message(number))
        log.steps.append((message(number), DEFAULT_REDUCERS))
    await log.agrees(sqlite)
    await sqlite.reopen()
    await log.agrees(sqlite)


async def test_each_state_says_which_run_made_it_and_when(hand: Hand) -> None:
    await hand.create()
    created = hand.clock.now
    hand.clock.now += 1
    await hand.update({"a": 1})
    hand.clock.now += 1
    await hand.run_through("r", {"b": 1})
    made = [await hand.store.state("t", step) for step in range(4)]
    assert [(state.run_id, state.create_time - created) for state in made] == [
        (None, 0),
        (None, 1),
        ("r", 2),
        ("r", 2),
    ]


async def test_the_reducers_of_a_step_are_those_of_its_assistant(hand: Hand) -> None:
    own = await hand.store.add_assistant(Assistant(0, "own", "g", 0, reducers={"n": Reducer.APPEND}))
    await hand.create()
    await hand.run_through("r", {"n": 2, "messages": [1]}, given={"n": 1, "messages": [1]}, assistant=own)
    await hand.run_through("s", {"n": 4, "messages": [2]}, given={"n": 3}, assistant=own)
    await hand.reopen()
    assert await hand.values() == {"n": [1, 2, 3, 4], "messages": [2]}
    await hand.run_through("d", {"n": 5, "messages": [3]})
    assert await hand.values() == {"n": 5, "messages": [2, 3]}


async def test_a_small_state_gets_no_snapshot_and_one_that_nobody_reads_none_either(sqlite: SqliteHand) -> None:
    await sqlite.create()
    for number in range(10):
        await sqlite.update({str(number): "x" * 6_000})
        await sqlite.store.state("t")
    assert await snapshots(sqlite) == []
    for number in range(10, 20):
        await sqlite.update({str(number): "x" * 6_000})
    assert await snapshots(sqlite) == []
    await sqlite.store.state("t")
    assert await snapshots(sqlite) == [20]


async def test_snapshots_together_stay_smaller_than_the_steps(sqlite: SqliteHand) -> None:
    await sqlite.create()
    for number in range(120):
        await sqlite.update({str(number): "x" * 4_000})
        await sqlite.store.state("t")
        await snapshots(sqlite)
    rows = everything(sqlite.path)
    steps = sum(len(body) for *_, body in rows["steps"])
    kept = sum(len(body) for _, _, body in rows["snapshots"])
    assert 0 < kept <= steps


async def test_reading_an_old_state_again_and_again_adds_no_snapshot_at_each_new_step(sqlite: SqliteHand) -> None:
    await sqlite.create()
    for number in range(20):
        await sqlite.update({str(number): "x" * 6_000})
    await sqlite.store.state("t")
    made = await snapshots(sqlite)
    for number in range(5):
        await sqlite.update({"small": number})
        await sqlite.store.state("t", 19)
    assert await snapshots(sqlite) == made


async def test_a_snapshot_of_a_deleted_thread_does_not_get_into_the_next_one_of_its_name(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    to_thread = asyncio.to_thread

    async def held(*args: Any, **more: Any) -> Any:
        entered.set()
        await go_on.wait()
        return await to_thread(*args, **more)

    await sqlite.create()
    await sqlite.update({"old": "x" * 70_000})
    monkeypatch.setattr(asyncio, "to_thread", held)
    await sqlite.store.state("t")
    await entered.wait()
    sqlite.clock.now += 1
    await sqlite.store.change(ask.DeleteThread("t"))
    await sqlite.create()
    await sqlite.update({"new": 1})
    go_on.set()
    await snapshots(sqlite)
    assert await sqlite.values() == {"new": 1}


async def test_a_snapshot_of_steps_that_were_cut_off_meanwhile_is_not_kept(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    to_thread = asyncio.to_thread

    async def held(*args: Any, **more: Any) -> Any:
        entered.set()
        await go_on.wait()
        return await to_thread(*args, **more)

    await sqlite.create()
    await sqlite.admit("r", given={MARKER: "x" * 70_000})
    await sqlite.claim()
    monkeypatch.setattr(asyncio, "to_thread", held)
    await sqlite.store.state("t")
    await entered.wait()
    await sqlite.cancel("r", rollback=True)
    await sqlite.update({"new": 1})
    go_on.set()
    assert await snapshots(sqlite) == []
    assert await sqlite.values() == {"new": 1}


async def test_closing_waits_for_the_snapshot_in_the_making(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.update({"old": "x" * 70_000})
    await sqlite.store.state("t")
    await sqlite.close()
    assert len(everything(sqlite.path)["snapshots"]) == 1


# Events


async def test_events_are_numbered_without_gaps_and_bring_what_was_committed(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r", given={"a": 1})
    hand.clock.now += 5
    await hand.claim()
    await hand.publish("r", "tokens", {"t": 1})
    await hand.commit("r", {"b": 2})
    await hand.succeed("r")
    await hand.update({"c": 3})
    start = hand.clock.now - 5
    expected = [
        (1, "r", RunChanged(None, S.PENDING), None, start),
        (2, "r", RunChanged(S.PENDING, S.RUNNING), None, start + 5),
        (3, "r", StepCommitted(1), '{"a":1}', start + 5),
        (4, "r", Output("tokens", '{"t":1}'), '{"t":1}', start + 5),
        (5, "r", StepCommitted(2), '{"b":2}', start + 5),
        (6, "r", RunChanged(S.RUNNING, S.SUCCESS), None, start + 5),
        (7, None, StepCommitted(3), '{"c":3}', start + 5),
    ]
    for _ in range(2):
        found = await hand.events()
        assert [(e.event.sequence, e.event.run_id, e.event.kind, e.data, e.time) for e in found] == expected
        await hand.reopen()


async def test_events_are_read_from_any_number_on_and_no_more_than_asked_for(hand: Hand) -> None:
    await hand.create()
    await hand.create("other")
    for _ in range(7):
        await hand.update({})
        await hand.update({}, "other")
    for after, limit, expected in (
        (0, 3, [1, 2, 3]),
        (3, 3, [4, 5, 6]),
        (6, 3, [7]),
        (7, 3, []),
        (99, 3, []),
        (0, 99, [1, 2, 3, 4, 5, 6, 7]),
    ):
        found = await hand.store.events("t", after, limit)
        assert [record.event.sequence for record in found] == expected


async def test_the_events_of_a_rolled_back_run_stay_in_number_and_lose_their_content(hand: Hand) -> None:
    await hand.create()
    await hand.admit("old")
    await hand.claim()
    await hand.publish("old", "tokens", {"kept": 0})
    await hand.commit("old", {"kept": 1})
    await hand.succeed("old")
    await hand.admit("r", given={"gone": 1})
    await hand.claim()
    await hand.publish("r", "tokens", {"gone": 2})
    await hand.commit("r", {"gone": 3})
    await hand.admit("new", strategy=ROLLBACK)
    await hand.store.change(ask.AcknowledgeStop("t", "r", 1))
    await hand.claim()
    await hand.publish("new", "tokens", {"kept": 2})
    await hand.commit("new", {"kept": 3})
    found = await hand.events()
    assert [record.event.sequence for record in found] == list(range(1, len(found) + 1))
    content = [(record.event.run_id, record.data) for record in found if not isinstance(record.event.kind, RunChanged)]
    assert content == [
        ("old", "{}"),
        ("old", '{"kept":0}'),
        ("old", '{"kept":1}'),
        ("r", None),
        ("r", None),
        ("r", None),
        ("new", "{}"),
        ("new", '{"kept":2}'),
        ("new", '{"kept":3}'),
    ]
    (changed,) = [
        r.event.kind for r in found if isinstance(r.event.kind, RunChanged) and r.event.kind.after is S.DELETED
    ]
    assert changed == RunChanged(S.RUNNING, S.DELETED, "new", Reason.SUPERSEDED)


# Assistants


async def test_an_assistant_is_read_as_it_was_added_also_after_reopening(hand: Hand) -> None:
    given = Assistant(0, "b", "h", 5, '{"m":1}', '{"c":2}', {"x": Reducer.APPEND, "y": Reducer.MESSAGES}, 7, 8, 9)
    added = await hand.store.add_assistant(given)
    assert replace(added, key=0) == given
    for _ in range(2):
        assert hand.store.assistant("b") == added
        assert [assistant.assistant_id for assistant in hand.store.assistants()] == ["a", "b"]
        await hand.reopen()


async def test_an_assistants_id_is_taken_until_it_is_deleted(hand: Hand) -> None:
    with pytest.raises(errors.AssistantExists) as refused:
        await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    assert refused.value.facts == {"assistant_id": "a"}
    await hand.store.delete_assistant("a")
    again = await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    assert hand.store.assistant("a") == again
    assert again.key != hand.assistant.key


async def test_of_two_assistants_of_one_id_added_at_once_one_is_refused(hand: Hand) -> None:
    both = [hand.store.add_assistant(Assistant(0, "b", graph, 0)) for graph in "xy"]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, Assistant)
    assert isinstance(second, errors.AssistantExists)
    assert hand.store.assistant("b") == first


async def test_a_deleted_assistant_is_gone_but_its_runs_keep_it(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r")
    await hand.store.delete_assistant("a")
    await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    for _ in range(2):
        assert (await hand.record("r")).run.assistant == hand.assistant
        await hand.reopen()
    await hand.store.delete_assistant("a")
    assert (hand.store.assistant("a"), hand.store.assistants()) == (None, [])
    with pytest.raises(errors.AssistantNotFound):
        await hand.store.delete_assistant("a")
    await hand.reopen()
    assert (hand.store.assistant("a"), hand.store.assistants()) == (None, [])
    assert (await hand.claim()).assistant == hand.assistant


# One caller's misfortune is no other's


Apply = Callable[[sqlite3.Connection, ask.Request, Decision, int], None]


def failing(error: Exception, thread_id: str = "poison") -> Apply:
    """Writes as ever, and then fails, for one thread."""

    def apply(connection: sqlite3.Connection, request: ask.Request, decision: Decision, now: int) -> None:
        writes.apply(connection, request, decision, now)
        if request.thread_id == thread_id:
            raise error

    return apply


def io_error() -> Exception:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@pytest.mark.parametrize(
    "error", [sqlite3.IntegrityError("a bug"), sqlite3.OperationalError("no such column: a bug"), RuntimeError("a bug")]
)
async def test_a_change_that_fails_does_so_alone(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    heard: list[str] = []
    sqlite.store.on_commit = lambda thread_id, decision: heard.append(thread_id)
    monkeypatch.setattr(store_module, "apply", failing(error))
    names = ["a", "b", "poison", "c", "a", "d"]
    changes = [sqlite.store.change(ask.CreateThread(name)) for name in names]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert outcomes[2] is error
    assert isinstance(outcomes[4], errors.ThreadExists)
    assert [outcome.thread.thread_id for outcome in outcomes if isinstance(outcome, Decision) and outcome.thread] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert heard == ["a", "b", "c", "d"]
    threads = (await sqlite.store.threads([], 10, None)).items
    assert sorted(record.thread.thread_id for record in threads) == ["a", "b", "c", "d"]
    assert not sqlite.sqlite.writer.in_transaction
    with pytest.raises(type(error)):
        await sqlite.create("poison")
    await sqlite.create("e")


@pytest.mark.parametrize("thread_id", ["t", "poison"])
@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_callers_change_is_committed_whole_or_not_at_all(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch, turns: int, thread_id: str
) -> None:
    heard: list[str] = []
    await sqlite.create(thread_id)
    await sqlite.admit("old", thread_id, given={"old": 1})
    await sqlite.claim(thread_id)
    monkeypatch.setattr(store_module, "apply", failing(sqlite3.IntegrityError("a bug")))
    sqlite.store.on_commit = lambda thread_id, decision: heard.append(thread_id)
    before = everything(sqlite.path)

    call = asyncio.create_task(sqlite.admit("new", thread_id, ROLLBACK))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    with suppress(asyncio.CancelledError, sqlite3.IntegrityError):
        await call
    await sqlite.create("next")  # passes the writer after whatever became of the call

    assert not sqlite.sqlite.writer.in_transaction
    after = everything(sqlite.path)
    heard.remove("next")
    committed = await sqlite.store.run("new") is not None
    assert committed or turns == 0 or thread_id == "poison"
    assert heard == ([thread_id] if committed else [])
    found = await sqlite.store.run("old")
    if committed:
        assert isinstance(found, Tombstone)
        assert (await sqlite.store.thread(thread_id)).thread.last_step == 0
        assert len(after["steps"]) == 0
        assert len(await sqlite.events(thread_id)) == 5
    else:
        assert {table: rows for table, rows in after.items() if table != "threads"} == {
            table: rows for table, rows in before.items() if table != "threads"
        }
        assert [row for row in after["threads"] if row[0] == thread_id] == before["threads"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_reader_that_gives_up_disturbs_no_other_reader(hand: Hand, turns: int) -> None:
    await hand.create()
    await hand.update({"a": 1})
    readers = [asyncio.create_task(hand.values()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    readers[0].cancel()
    outcomes = await asyncio.gather(*readers, return_exceptions=True)
    assert outcomes[1:] == [{"a": 1}] * 2


async def test_a_database_that_cannot_be_written_just_now_is_no_bug(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    with monkeypatch.context() as broken:
        broken.setattr(store_module, "apply", failing(io_error(), "t"))
        with pytest.raises(errors.NotReady, match="disk I/O error"):
            await sqlite.update({"a": 1})
    assert not sqlite.sqlite.writer.in_transaction
    await sqlite.update({"b": 2})
    assert await sqlite.values() == {"b": 2}


async def test_a_disk_that_is_full_refuses_what_it_has_no_room_for_and_nothing_else(sqlite: SqliteHand) -> None:
    await sqlite.create("t")
    await sqlite.create("u")
    await sqlite.sqlite.writer.run(_limit_pages(20))
    large, small = await asyncio.gather(
        sqlite.update({"large": "x" * 1_000_000}, "t"), sqlite.update({"small": 1}, "u"), return_exceptions=True
    )
    assert isinstance(large, errors.NotReady)
    assert "full" in str(large)
    assert isinstance(small, Decision)
    assert not sqlite.sqlite.writer.in_transaction
    await sqlite.sqlite.writer.run(_limit_pages(1_000_000))
    await sqlite.update({"large": "x" * 1_000_000}, "t")
    assert (await sqlite.store.thread("t")).thread.last_step == 1


def _limit_pages(more: int) -> Callable[[sqlite3.Connection], None]:
    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more}").fetchone()

    return limit


async def test_while_another_program_holds_the_database_all_callers_wait_no_longer_than_one(
    sqlite: SqliteHand,
) -> None:
    """Each attempt to begin waits for SQLite's busy timeout: a batch that cannot begin must not be tried one by one."""
    await sqlite.create()
    begun: list[str] = []

    def trace(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 1")
        connection.set_trace_callback(begun.append)

    await sqlite.sqlite.writer.run(trace)
    outsider = sqlite3.connect(sqlite.path, isolation_level=None)
    try:
        outsider.execute("BEGIN IMMEDIATE")
        begun.clear()
        outcomes = await asyncio.gather(*(sqlite.update({}) for _ in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.NotReady}
        attempts = sum(statement.startswith("BEGIN") for statement in begun)
        outsider.execute("ROLLBACK")
    finally:
        outsider.close()
    await sqlite.update({})
    assert attempts <= 2, f"{attempts} attempts to begin, for {len(outcomes)} callers"


async def test_readers_see_nothing_of_a_change_before_it_is_committed(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, go_on = threading.Event(), threading.Event()

    def apply(connection: sqlite3.Connection, request: ask.Request, decision: Decision, now: int) -> None:
        writes.apply(connection, request, decision, now)
        written.set()
        assert go_on.wait(30)

    await sqlite.create()
    monkeypatch.setattr(store_module, "apply", apply)
    change = asyncio.create_task(sqlite.update({"a": 1}))
    try:
        await asyncio.to_thread(written.wait, 30)
        assert await sqlite.values() == {}
        assert (await sqlite.store.thread("t")).thread.last_step == 0
        assert await sqlite.events() == []
    finally:
        go_on.set()
    await change
    assert await sqlite.values() == {"a": 1}


async def test_changes_that_wait_together_are_committed_together(sqlite: SqliteHand) -> None:
    before = sqlite.sqlite.writer.batches
    await asyncio.gather(*(sqlite.create(f"t{number}") for number in range(100)))
    assert sqlite.sqlite.writer.batches - before <= 3
    assert len((await sqlite.store.threads([], 200, None)).items) == 100


async def test_no_batch_is_larger_than_the_largest(sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "LARGEST_BATCH", 10)
    before = sqlite.sqlite.writer.batches
    await asyncio.gather(*(sqlite.create(f"t{number}") for number in range(95)))
    assert 10 <= sqlite.sqlite.writer.batches - before <= 12


async def test_changes_of_one_thread_that_wait_together_are_decided_one_after_the_other(hand: Hand) -> None:
    await hand.create()
    decisions = await asyncio.gather(*(hand.admit(f"r{number}", strategy=INTERRUPT) for number in range(30)))
    assert [decision.admitted and decision.admitted.sequence for decision in decisions] == list(range(1, 31))
    runs = [record.run for record in (await hand.store.runs("t", [], True, 100, None)).items]
    assert [run.superseded_by for run in runs] == [*(f"r{number}" for number in range(1, 30)), None]


async def test_closing_finishes_what_was_asked(sqlite: SqliteHand) -> None:
    await sqlite.create()
    changes = [asyncio.create_task(sqlite.update({str(number): number})) for number in range(300)]
    await asyncio.sleep(0)
    await sqlite.close()
    await asyncio.gather(*changes)
    assert len(everything(sqlite.path)["steps"]) == 300
