"""A run that wants an idle thread is refused by what the commits have told, and never by what is no longer so."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from doubletext_server.store.rows import read_run
from doubletext_server.store.sqlite import store as store_module
from doubletext_server.store.sqlite.queue import WHOLE
from doubletext_statemachine import commands, errors
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import Strategy
from tests.contract.test_failures import failing, io_error
from tests.support.store import ENQUEUE, GRACE, INTERRUPT, LEASE, REJECT, ROLLBACK, SqliteHand


async def refused(sqlite: SqliteHand, **more: Any) -> errors.ThreadBusy:
    with pytest.raises(errors.ThreadBusy) as busy:
        await sqlite.admit("no", strategy=REJECT, **more)
    return busy.value


async def test_it_is_refused_without_a_look_into_the_file_and_as_the_file_would(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.admit("a")
    await sqlite.admit("b")
    for change in (sqlite.claim, sqlite.store.settled):
        hops = sqlite.sqlite.writer.batches
        told = await refused(sqlite)
        assert sqlite.sqlite.writer.batches == hops
        read = await refused(sqlite, request_id="looked up in the file")
        assert sqlite.sqlite.writer.batches == hops + 1
        assert (str(told), told.facts) == (str(read), read.facts)
        assert told.facts["in_flight_runs"] == "2"
        await change()


async def test_it_is_refused_in_the_file_when_more_is_in_flight_than_a_decision_reads(sqlite: SqliteHand) -> None:
    await sqlite.create()
    for number in range(5):
        await sqlite.admit(str(number))
    assert (await refused(sqlite)).facts["in_flight_runs"] == "5"


async def test_while_a_change_is_under_way_the_file_decides(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.admit("a")
    await sqlite.claim()
    ended, admitted = await asyncio.gather(sqlite.succeed("a"), sqlite.admit("b", strategy=REJECT))
    assert ended.moved
    assert admitted.admitted
    assert admitted.admitted.run_id == "b"


async def test_a_caller_that_gives_up_leaves_no_change_under_way_for_ever(sqlite: SqliteHand) -> None:
    await sqlite.create()
    await sqlite.admit("a")
    call = asyncio.create_task(sqlite.claim())
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await sqlite.store.settled()
    hops = sqlite.sqlite.writer.batches
    assert (await refused(sqlite)).facts["active_run_status"] == "running"
    assert sqlite.sqlite.writer.batches == hops


async def test_after_a_failure_of_the_disk_the_file_is_asked(
    sqlite: SqliteHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.create()
    await sqlite.admit("a")
    with monkeypatch.context() as broken:
        broken.setattr(store_module, "write", failing(io_error(), "t"))
        with pytest.raises(errors.NotReady):
            await sqlite.admit("b")
    hops = sqlite.sqlite.writer.batches
    await refused(sqlite)
    assert sqlite.sqlite.writer.batches == hops + 1


class Chance:
    """Changes of a thread, drawn by chance."""

    def __init__(self, sqlite: SqliteHand, seed: int) -> None:
        self.sqlite = sqlite
        self.dice = random.Random(seed)
        self.number = 0

    async def change(self) -> None:
        dice, sqlite = self.dice, self.sqlite
        flying = in_flight(sqlite)
        chosen = dice.choice(flying) if flying else None
        match dice.choice(("admit", "admit", "claim", "end", "step", "cancel", "tick", "recover", "thread", "again")):
            case "admit":
                self.number += 1
                strategy = dice.choice((None, ENQUEUE, ENQUEUE, INTERRUPT, ROLLBACK, REJECT))
                delay = dice.choice((0, 0, LEASE))
                await sqlite.admit(f"r{self.number}", strategy=strategy, delay=delay, request_id=f"q{self.number}")
            case "claim":
                worker, lease = dice.choice(((None, None), ("w", LEASE)))
                await sqlite.change(commands.ClaimRun("t", frozenset({"g"}), worker, lease))
            case "end" if chosen:
                await sqlite.change(commands.SucceedRun("t", chosen.run_id, chosen.epoch))
            case "step" if chosen:
                await sqlite.change(commands.CommitStep("t", chosen.run_id, chosen.epoch, "{}"))
            case "cancel" if chosen:
                await sqlite.cancel(chosen.run_id, rollback=dice.random() < 0.5)
            case "tick":
                sqlite.clock.now += dice.choice((1, LEASE, GRACE))
                await sqlite.change(commands.Tick("t"))
            case "recover":
                await sqlite.change(commands.Recover("t"))
            case "thread":
                changes: dict[str, Any] = {"default_strategy": dice.choice((None, *Strategy))}
                await sqlite.change(commands.UpdateThread("t", changes))
            case "again" if dice.random() < 0.2:
                await sqlite.change(commands.DeleteThread("t"))
                await sqlite.create()


def in_flight(sqlite: SqliteHand) -> list[Run]:
    connection = sqlite.sqlite.writer._connection._conn
    return [read_run(row, sqlite.sqlite._by_key) for row in connection.execute(WHOLE, ("t",))]


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_known_of_a_busy_thread_is_what_the_file_has_after_any_change(
    sqlite: SqliteHand, seed: int
) -> None:
    """Concurrent ones, too: of several changes at once the last one's view counts."""
    await sqlite.create()
    chance, met = Chance(sqlite, seed), Counter[str]()
    for _ in range(150):
        changes = [chance.change() for _ in range(chance.dice.choice((1, 1, 3)))]
        await asyncio.gather(*changes, return_exceptions=True)
        view, flying = sqlite.changes._busy.view("t"), in_flight(sqlite)
        if view is None:
            met["idle" if not flying else "not known"] += 1
        else:
            met["known"] += 1
            assert list(view.runs) == flying
            assert view.thread == (await sqlite.store.thread("t")).thread
    assert met["known"] > 30
    assert met["idle"] > 3
    assert sqlite.changes._busy._under_way == {}
