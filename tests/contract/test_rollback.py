"""What is left of a run: nothing after a rollback, everything after an interrupt; and nothing of a deleted thread."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.model import Tombstone
from doubletext_statemachine.words import Reason
from tests.support.store import (
    INTERRUPT,
    MARKER,
    ROLLBACK,
    Hand,
    S,
    SqliteHand,
    everything,
    snapshots,
    tables_with,
    text,
)


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
    await hand.change(commands.Recover("t"))
    await hand.cancel("r", rollback=True)


ROLLBACKS: Final[dict[str, Callable[[Hand], Awaitable[object]]]] = {
    "superseded": lambda hand: hand.admit("new", strategy=ROLLBACK),
    "cancelled": lambda hand: hand.cancel("r", rollback=True),
    "handed back first": handed_back_and_cancelled,
    "thread deleted": lambda hand: hand.change(commands.DeleteThread("t")),
}


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
    assert tables_with(sqlite.path, MARKER) == {"runs", "steps", "snapshots", "events"}

    await ROLLBACKS[how](sqlite)
    if how in ("cancelled", "handed back first"):
        await sqlite.cancel("waiting", rollback=True)
    await sqlite.update({"kept": "keepsake"}, "other")
    assert tables_with(sqlite.path, MARKER) == set()
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
            await sqlite.change(commands.Recover(name))
    for name, run in alive.items():
        await sqlite.cancel(run, name, rollback=True)
    assert tables_with(sqlite.path, MARKER) == set()
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
    await hand.change(commands.DeleteRun("t", "r"))
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
    await sqlite.change(commands.DeleteThread("t"))
    assert everything(sqlite.path) == before
    assert await sqlite.store.run("s") is None
    await sqlite.create("t")
    assert await sqlite.events() == []
