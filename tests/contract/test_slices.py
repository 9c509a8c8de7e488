"""A thread or a run with much that is deleted is gone at once, and its rows go a slice at a time."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from doubletext_server.engine.changes import Changes
from doubletext_server.store.check import check
from doubletext_server.store.sqlite import tidy
from doubletext_statemachine import commands
from doubletext_statemachine.errors import ThreadNotFound
from doubletext_statemachine.model import Output
from tests.support.store import MARKER, SqliteHand, everything

CHILDREN = ("runs", "steps", "snapshots", "events", "tombstones", "requests", "run_labels")


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "SLICE", 10)


def sound(path: Path) -> bool:
    """Check a copy that another process makes: the one that has a file open must not open it once more."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(each) for each in path.parent.glob(f"{path.name}*") if each.suffix != ".db-shm"]
        subprocess.run(["cp", *files, folder], check=True)
        found = check(str(Path(folder) / path.name)).found
    assert found == {}
    return True


async def roll_back(hand: SqliteHand, run_id: str, thread_id: str = "t") -> None:
    """Cancel a running run, whose code ends at once."""
    await hand.cancel(run_id, thread_id, rollback=True)
    await hand.change(commands.AcknowledgeStop(thread_id, run_id, hand.epochs[run_id]))


async def a_long_thread(hand: SqliteHand, thread_id: str = "t") -> None:
    """Finished runs, a rolled-back one, one that is running, steps, snapshots, outputs and request ids."""
    await hand.create(thread_id)
    for number in range(4):
        name = f"{thread_id}{number}"
        await hand.admit(name, thread_id, given={"n": number}, request_id=name, metadata='{"m":1}')
        await hand.claim(thread_id)
        for step in range(6):
            await hand.commit(name, {str(step): MARKER + "x" * 12_000}, thread_id=thread_id)
        await hand.store.state(thread_id)
        if number == 1:
            await roll_back(hand, name, thread_id)
        elif number < 3:
            await hand.succeed(name, thread_id)


async def tidied(hand: SqliteHand) -> int:
    """Remove all that is left, with a check of the file before each slice. Returns how many slices there were."""
    slices = 0
    while await hand.store.tidy():
        slices += 1
        assert sound(hand.path)
    return slices


def of_thread(rows: dict[str, list[Any]], thread_id: str) -> int:
    return sum(thread_id in row for table in CHILDREN for row in rows[table])


async def test_a_deleted_thread_is_gone_at_once_for_all_who_read(sqlite: SqliteHand) -> None:
    await a_long_thread(sqlite)
    await sqlite.change(commands.DeleteThread("t"))
    assert of_thread(everything(sqlite.path), "t") > 20, "there is nothing to be removed later"
    for _ in range(2):
        with pytest.raises(ThreadNotFound):
            await sqlite.store.thread("t")
        with pytest.raises(ThreadNotFound):
            await sqlite.store.state("t")
        with pytest.raises(ThreadNotFound):
            await sqlite.store.runs("t", [], True, 10, None)
        for name in ("t0", "t1", "t3"):
            assert await sqlite.store.run(name) is None
            assert await sqlite.store.thread_of(name) is None
        assert await sqlite.store.events("t", 0, 100) == []
        assert await sqlite.store.unsettled() == []
        assert await sqlite.store.running() == []
        assert sum((await sqlite.store.in_flight()).values()) == 0
        assert (await sqlite.store.threads([], 10, None)).items == []
        assert sound(sqlite.path)
        await sqlite.reopen()
    assert await tidied(sqlite) > 3
    rows = everything(sqlite.path)
    assert all(rows[table] == [] for table in (*CHILDREN, "doomed", "threads"))
    assert MARKER not in str(rows)


async def test_another_thread_keeps_everything(sqlite: SqliteHand) -> None:
    await a_long_thread(sqlite, "a")
    before = everything(sqlite.path)
    await a_long_thread(sqlite, "b")
    await sqlite.change(commands.DeleteThread("b"))
    await tidied(sqlite)
    after = everything(sqlite.path)
    kept = set(CHILDREN) - {"snapshots"}  # which are made meanwhile
    assert {table: after[table] for table in kept} == {table: before[table] for table in kept}


async def test_a_thread_of_the_same_id_finds_nothing_of_the_earlier_one(sqlite: SqliteHand) -> None:
    await a_long_thread(sqlite)
    await sqlite.change(commands.DeleteThread("t"))
    await sqlite.create("t")
    assert everything(sqlite.path)["doomed"] == []
    await sqlite.admit("t0", given={"new": 1})
    assert [record.run.run_id for record in (await sqlite.store.runs("t", [], True, 10, None)).items] == ["t0"]
    assert (await sqlite.store.run("t3")) is None
    assert await tidied(sqlite) == 0
    assert sound(sqlite.path)


async def test_a_short_thread_goes_in_one_commit(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.update({"n": 1})
    await sqlite.change(commands.DeleteThread("t"))
    assert all(everything(sqlite.path)[table] == [] for table in (*CHILDREN, "doomed"))


async def test_references_are_checked_again_after_a_thread_was_deleted(sqlite: SqliteHand) -> None:
    await a_long_thread(sqlite)
    await sqlite.change(commands.DeleteThread("t"))
    enforced = await sqlite.store.writer.run(lambda connection: connection.execute("PRAGMA foreign_keys").fetchone())  # type: ignore[attr-defined]
    assert enforced == (1,)


async def test_a_long_run_that_is_rolled_back_is_gone_at_once(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.run_through("before", {"kept": 1}, given={"n": 0})
    await sqlite.admit("long", given={"n": 1})
    await sqlite.claim()
    for step in range(60):
        await sqlite.commit("long", {"n": step, "text": MARKER + "y" * 3_000})
    await sqlite.store.state("t")
    await roll_back(sqlite, "long")
    assert len(everything(sqlite.path)["steps"]) > 40
    for _ in range(2):
        assert await sqlite.values() == {"n": 0, "kept": 1}
        states = (await sqlite.store.states("t", 100, None)).items
        assert [state.step for state in states] == [2, 1]
        events = await sqlite.store.events("t", 0, 1000)
        assert [record.data for record in events if record.event.run_id == "long" and record.data] == []
        assert sound(sqlite.path)
        await sqlite.reopen()
    # New steps take the numbers of those that are still there.
    await sqlite.run_through("after", *({"new": number} for number in range(5)), given={"n": 2})
    assert await sqlite.values() == {"n": 2, "kept": 1, "new": 4}
    assert await sqlite.values(4) == {"n": 2, "kept": 1, "new": 0}
    assert sound(sqlite.path)
    assert await tidied(sqlite) > 3
    rows = everything(sqlite.path)
    assert (len(rows["steps"]), rows["cuts"]) == (8, [])
    assert MARKER not in str(rows["steps"]) + str(rows["snapshots"])
    assert await sqlite.values() == {"n": 2, "kept": 1, "new": 4}


async def test_a_second_rollback_before_the_first_is_tidied(sqlite: SqliteHand) -> None:
    await sqlite.create()
    for name in ("a", "b"):
        await sqlite.admit(name, given={"n": name})
        await sqlite.claim()
        for step in range(40 if name == "a" else 30):
            await sqlite.commit(name, {"n": f"{name}{step}"})
        await roll_back(sqlite, name)
        assert await sqlite.values() == {}
        assert sound(sqlite.path)
    await tidied(sqlite)
    assert everything(sqlite.path)["steps"] == []


async def test_a_thread_is_deleted_whose_steps_were_cut(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.admit("a", given={"n": 1})
    await sqlite.claim()
    for step in range(40):
        await sqlite.commit("a", {"n": step})
    await roll_back(sqlite, "a")
    await Changes(sqlite.store).change(commands.DeleteThread("t"))
    await tidied(sqlite)
    rows = everything(sqlite.path)
    assert all(rows[table] == [] for table in (*CHILDREN, "doomed", "cuts"))


async def test_a_slice_ends_with_a_megabyte_too(sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "SLICE", 1000)
    monkeypatch.setattr(tidy, "SLICE_BYTES", 10_000)
    await sqlite.create()
    await sqlite.admit("a")
    await sqlite.claim()
    for _ in range(10):
        await sqlite.change(commands.PublishOutput("t", "a", 1, (Output("c", '{"x":"' + "z" * 4_000 + '"}'),)))
    await sqlite.change(commands.DeleteThread("t"))
    assert await tidied(sqlite) >= 3
