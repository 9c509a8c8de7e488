"""The state at each step is the plain fold of the steps, with snapshots or without; and when snapshots are made."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from doubletext.jsontext import loads
from doubletext_statemachine import commands
from doubletext_statemachine.model import DEFAULT_REDUCERS, Assistant, Reducers
from doubletext_statemachine.state import Change, fold
from doubletext_statemachine.words import Reducer
from tests.support.store import MARKER, ROLLBACK, Hand, SqliteHand, everything, pages, snapshots


class Log:
    """The steps of a thread as a test makes them, folded plainly: what every reading of a state must come to."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, Any], Reducers]] = []

    def state(self, step: int) -> dict[str, Any]:
        return fold({}, [Change(*each) for each in copy.deepcopy(self.steps[:step])])

    async def agrees(self, hand: Hand) -> None:
        """GetState at every step, twice since the first reading may make a snapshot, and ListStates."""
        for _ in range(2):
            for step in range(len(self.steps) + 1):
                assert await hand.values(step) == self.state(step), step
        read = [page async for page in pages(lambda after: hand.store.states("t", 4, after))]
        listed = {state.step: loads(state.values) for page in read for state in page}
        assert listed == {step: self.state(step) for step in range(1, len(self.steps) + 1)}
        _, raw = await hand.store.start_of("t", "no run")
        assert raw.values() == self.state(len(self.steps))


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
    await sqlite.change(commands.AcknowledgeStop("t", "r", 1))
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
    steps = sum(len(body) for *_, body, _, _, _ in rows["steps"])
    kept = sum(len(body) for _, _, body in rows["snapshots"])
    assert 0 < kept <= steps


async def test_of_a_growing_state_only_the_newest_snapshot_is_kept(sqlite: SqliteHand) -> None:
    made = []
    await sqlite.create()
    for number in range(60):
        await sqlite.update({str(number): "x" * 6_000})
        await sqlite.store.state("t")
        made += [step for step in await snapshots(sqlite) if step not in made]
    assert len(made) > 2
    assert await snapshots(sqlite) == made[-1:]
    assert await sqlite.values(made[0]) == {str(number): "x" * 6_000 for number in range(made[0])}


async def test_of_a_state_that_stays_as_large_as_it_is_every_snapshot_is_kept(sqlite: SqliteHand) -> None:
    """Else reading an old one would fold all that was ever replaced."""
    await sqlite.create()
    for number in range(60):
        await sqlite.update({"same": f"{number}" + "x" * 6_000})
        await sqlite.store.state("t")
        await snapshots(sqlite)
    assert len(await snapshots(sqlite)) == 60 // 11


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


def hold_snapshots(sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold the next snapshot between its reading and its writing: it has been read once the first event is set, and is
    written once the second one is."""
    entered, go_on = asyncio.Event(), asyncio.Event()
    writer: Any = sqlite.store.writer  # type: ignore[attr-defined]
    run = writer.run

    async def held(work: Callable[..., Any], *more: Any, **other: Any) -> Any:
        if getattr(getattr(work, "func", None), "__name__", "") == "_add_snapshot":
            entered.set()
            await go_on.wait()
        return await run(work, *more, **other)

    monkeypatch.setattr(writer, "run", held)
    return entered, go_on


async def test_a_snapshot_of_a_deleted_thread_does_not_get_into_the_next_one_of_its_name(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    await sqlite.update({"old": "x" * 70_000})
    entered, go_on = hold_snapshots(sqlite, monkeypatch)
    await sqlite.store.state("t")
    await entered.wait()
    sqlite.clock.now += 1
    await sqlite.change(commands.DeleteThread("t"))
    await sqlite.create()
    await sqlite.update({"new": 1})
    go_on.set()
    await snapshots(sqlite)
    assert await sqlite.values() == {"new": 1}


async def test_a_snapshot_of_steps_that_were_cut_off_meanwhile_is_not_kept(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    await sqlite.admit("r", given={MARKER: "x" * 70_000})
    await sqlite.claim()
    entered, go_on = hold_snapshots(sqlite, monkeypatch)
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
