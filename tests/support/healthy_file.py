"""A file in which nearly everything has happened that can: the healthy one that checks are tried on."""

import asyncio
import shutil
from pathlib import Path
from typing import Final

import pytest

from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine import commands
from doubletext_statemachine.model import Assistant, Run
from doubletext_statemachine.words import Reducer
from tests.support.clock import SECOND, ManualClock
from tests.support.store import GRAPHS, INTERRUPT, KEEP, MERGE, REJECT, ROLLBACK, SqliteHand, dealt

LEASE: Final = 15 * SECOND
LARGE: Final = "x" * 70_000
"""Makes a state due for a snapshot."""


async def play(path: Path) -> None:
    clock = ManualClock()
    first = await dealt(path, clock, SqliteStore.open)
    hand = SqliteHand(first.store, path, clock, first.assistant)
    for part in (_talk, _work, _line, _draining, _together, _long, _gone):
        await part(hand)
        clock.now += SECOND
    await hand.reopen()
    await hand.close()


async def _talk(hand: SqliteHand) -> None:
    """The four strategies, by the server's own attempts. Left idle."""
    await hand.create("talk", metadata='{"who":"me"}')
    await hand.run_through(
        "hello", {"messages": ["hi"]}, thread_id="talk", given={"n": 1}, metadata='{"k":1}', request_id="q-hello"
    )
    await hand.admit("first", "talk")
    await hand.claim("talk")
    await hand.commit("first", {"messages": ["so far"]}, "talk")
    await hand.publish("first", "tokens", {"t": "so"}, "talk")
    await hand.admit("waiting", "talk")
    await hand.admit("second", "talk", INTERRUPT)
    await hand.change(commands.AcknowledgeStop("talk", "first", 1))
    await hand.claim("talk")
    await hand.commit("second", {"messages": ["secret"]}, "talk")
    await hand.publish("second", "tokens", {"t": "secret"}, "talk")
    hand.clock.now += SECOND
    await hand.admit("third", "talk", ROLLBACK, request_id="q-third")
    await hand.change(commands.AcknowledgeStop("talk", "second", 1))
    await hand.claim("talk")
    await hand.commit("third", {"key": [1, 2]}, "talk")
    await hand.succeed("third", "talk")
    await hand.update({"by": "hand"}, "talk", {"by": Reducer.APPEND})
    await hand.run_through("forgotten", {"messages": ["bye"]}, thread_id="talk", request_id="q-forgotten")
    await hand.change(commands.DeleteRun("talk", "forgotten"))
    await hand.admit("alone", "talk", REJECT)
    await hand.cancel("alone", "talk", rollback=True)


async def _claim(hand: SqliteHand, thread_id: str, worker_id: str) -> Run:
    run = (await hand.change(commands.ClaimRun(thread_id, GRAPHS, worker_id, LEASE))).run
    assert isinstance(run, Run)
    hand.epochs[run.run_id] = run.epoch
    return run


async def _work(hand: SqliteHand) -> None:
    """Workers that are lost, hand back, fail, are too late. Left with one that is running."""
    await hand.create("work")
    await hand.admit("lost", "work")
    await _claim(hand, "work", "w1")
    await hand.commit("lost", {"messages": ["half"]}, "work")
    hand.clock.now += LEASE
    await hand.change(commands.Tick("work"))
    await _claim(hand, "work", "w2")
    await hand.change(commands.SucceedRun("work", "lost", 2, digest="d", update='{"messages":["whole"]}'))
    await hand.admit("returned", "work")
    await _claim(hand, "work", "w1")
    await hand.change(commands.ReleaseRun("work", "returned", 1))
    await _claim(hand, "work", "w2")
    await hand.change(commands.FailRun("work", "returned", 2, "LookupError", "no such weather"))
    await hand.admit("late", "work", timeout=SECOND)
    await _claim(hand, "work", "w1")
    hand.clock.now += SECOND
    await hand.change(commands.Tick("work"))
    await hand.change(commands.ReleaseRun("work", "late", 1))
    await hand.admit("unlucky", "work")
    for _ in range(3):
        await _claim(hand, "work", "w3")
        hand.clock.now += LEASE
        await hand.change(commands.Tick("work"))
    await hand.admit("running", "work", given={"n": 2})
    await _claim(hand, "work", "w1")
    await hand.commit("running", {"messages": ["going"]}, "work")


async def _line(hand: SqliteHand) -> None:
    """A queue with a delayed run, which the ones behind it pass. Left with one handed back and two waiting."""
    await hand.create("line")
    await hand.admit("delayed", "line", delay=60 * SECOND)
    for name in ("one", "two"):
        await hand.admit(name, "line")
    for name in ("one", "two"):
        await hand.claim("line")
        await hand.succeed(name, "line")
    await hand.admit("back", "line")
    await hand.admit("next", "line")
    await hand.claim("line")
    await hand.change(commands.Recover("line"))


async def _draining(hand: SqliteHand) -> None:
    """Left with a stopped attempt that is awaited."""
    await hand.create("draining")
    await hand.admit("old", "draining")
    await _claim(hand, "draining", "w1")
    await hand.admit("new", "draining", INTERRUPT)


async def _together(hand: SqliteHand) -> None:
    """Runs that were merged, placed before others, and too late. Left with one running that has taken two, and one
    that waits with another in it."""
    await hand.create("together")
    for name in ("a", "b"):
        await hand.admit(name, "together", given={"messages": [name]}, queue_policy=MERGE, debounce=SECOND)
    await hand.admit("c", "together", given={"messages": ["c"]}, queue_policy=MERGE)
    await hand.claim("together")
    await hand.admit("undone", "together")
    await hand.admit("taker", "together", ROLLBACK, queue_policy=MERGE)
    await hand.change(commands.AcknowledgeStop("together", "c", 1))
    await hand.admit("other", "together", assistant=await hand.store.add_assistant(Assistant(0, "other", "g", 0)))
    await hand.admit("hasty", "together", start_within=SECOND)
    await hand.admit("urgent", "together", INTERRUPT, queue_policy=KEEP)
    hand.clock.now += SECOND
    await hand.change(commands.Tick("together"))
    await hand.claim("together")
    await hand.succeed("urgent", "together")
    await hand.claim("together")
    await hand.commit("taker", {"messages": ["done"]}, "together")
    await hand.admit("later", "together", queue_policy=MERGE)
    await hand.admit("latest", "together", queue_policy=MERGE)


async def _long(hand: SqliteHand) -> None:
    """A state large enough for snapshots, of which each is kept, by an assistant that is deleted and made anew."""
    own = await hand.store.add_assistant(Assistant(0, "own", "g", hand.clock(), reducers={"log": Reducer.APPEND}))
    await hand.create("long")
    await hand.admit("tall", "long", assistant=own, given={"log": [1]})
    await hand.claim("long")
    for number in range(3):
        await hand.commit("tall", {"log": [number], "text": LARGE, "last": number}, "long")
        await hand.store.state("long")
        await _settled(hand)
    await hand.succeed("tall", "long")
    await hand.store.delete_assistant("own")
    await hand.store.add_assistant(Assistant(0, "own", "g", hand.clock()))


async def _settled(hand: SqliteHand) -> None:
    """Snapshots in the making are made."""
    for task in list(hand.sqlite._snapshotting.values()):
        await task


async def _gone(hand: SqliteHand) -> None:
    await hand.create("gone")
    await hand.run_through("once", {"a": 1}, thread_id="gone")
    await hand.change(commands.DeleteThread("gone"))


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The healthy file; not to be changed."""
    path = tmp_path_factory.mktemp("played") / "played.db"
    asyncio.run(play(path))
    return path


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    """A copy of the healthy file, for the test to spoil."""
    return Path(shutil.copy(played, tmp_path / "copy.db"))
