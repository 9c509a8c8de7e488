"""What a store keeps of workers: leases, the wait for stopped attempts, and what repeated calls are told by."""

from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Output, StoppingAttempt
from doubletext_statemachine.words import Reason
from tests.support.clock import SECOND
from tests.support.store import GRACE, INTERRUPT, LEASE, ROLLBACK, Hand, S, SqliteHand, columns_of, everything


async def remote(hand: Hand, *updates: Any, run_id: str = "r") -> None:
    """A run that a worker has claimed, and that has made so many steps."""
    await hand.admit(run_id, given={})
    await hand.claim(worker_id="w")
    for update in updates:
        await hand.commit(run_id, update)


STOPPING: Final = ("stopping_run_id", "stopping_epoch", "stopping_until", "stopping_grace_until", "stopping_worker_id")

# Leases


async def test_what_a_decision_says_of_a_workers_run_is_what_is_read_at_each_move(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r")
    claim = commands.ClaimRun("t", frozenset({"g"}), "w", LEASE)
    moves: list[commands.Command] = [
        claim,
        commands.CommitStep("t", "r", 1, "{}", 2),
        commands.Heartbeat("t", "r", 1, LEASE),
        commands.ReleaseRun("t", "r", 1),
        claim,
        commands.Tick("t"),
        claim,
        commands.FailRun("t", "r", 3, "E", "m", "digest"),
    ]
    leases = []
    for move in moves:
        hand.clock.now += LEASE if isinstance(move, commands.Tick) else 7
        decision = await hand.change(move)
        record = await hand.record("r")
        assert record.run == decision.run
        leases.append(record.run.lease_expires and record.run.lease_expires - hand.clock.now)
    assert leases == [LEASE, LEASE - 7, LEASE, None, LEASE, None, LEASE, None]
    assert (record.run.worker_id, record.run.outcome_digest) == ("w", "digest")


async def test_a_lease_survives_the_server(hand: Hand) -> None:
    await hand.create()
    await remote(hand, {"a": 1})
    run = (await hand.record("r")).run
    assert (run.worker_id, run.lease_expires) == ("w", hand.clock.now + LEASE)
    for _ in range(2):
        await hand.reopen()
        assert await hand.store.unsettled() == ["t"]
        decision = await hand.change(commands.Recover("t"))
        assert (decision.writes, decision.upcoming) == (False, (None, run.lease_expires))
        assert (await hand.record("r")).run == run
    hand.clock.now = (run.lease_expires or 0) - 1
    await hand.change(commands.CommitStep("t", "r", 1, "{}", by_worker=True))
    hand.clock.now += 1
    with pytest.raises(errors.LeaseLost, match="EXPIRED"):
        await hand.change(commands.CommitStep("t", "r", 1, "{}", by_worker=True))
    await hand.reopen()
    assert (await hand.change(commands.Recover("t"))).upcoming.wake == run.lease_expires
    await hand.change(commands.Tick("t"))
    run = (await hand.record("r")).run
    assert (run.status, run.reason, run.lease_expires, run.last_step) == (S.PENDING, Reason.LEASE_LOST, None, 3)


# The wait for a stopped attempt


@pytest.mark.parametrize("strategy", [INTERRUPT, ROLLBACK])
async def test_the_wait_for_a_stopped_worker_survives_the_server(hand: Hand, strategy: Any) -> None:
    await hand.create()
    await remote(hand)
    stopped = hand.clock.now
    await hand.admit("next", strategy=strategy)
    stopping = StoppingAttempt("r", 1, stopped + LEASE, stopped + GRACE, "w")
    for beat in (False, True):
        if beat:
            hand.clock.now += SECOND
            await hand.change(commands.Heartbeat("t", "r", 1, LEASE, by_worker=True))
            stopping = StoppingAttempt("r", 1, stopped + LEASE + SECOND, stopped + GRACE, "w")
        await hand.reopen()
        assert (await hand.store.thread("t")).thread.stopping == stopping
        decision = await hand.change(commands.Recover("t"))
        assert (decision.writes, decision.upcoming) == (False, (None, stopping.until))
    await hand.change(commands.ReleaseRun("t", "r", 1, by_worker=True))
    await hand.reopen()
    assert (await hand.store.thread("t")).thread.stopping is None
    assert (await hand.claim(worker_id="w")).run_id == "next"


async def test_a_thread_that_awaits_a_stopped_worker_is_unsettled_though_nothing_is_in_flight(hand: Hand) -> None:
    await hand.create()
    await remote(hand)
    await hand.cancel("r")
    assert await hand.store.unsettled() == ["t"]
    hand.clock.now += LEASE
    await hand.change(commands.Tick("t"))
    assert await hand.store.unsettled() == []


@pytest.mark.parametrize("strategy", [INTERRUPT, ROLLBACK])
async def test_an_outcome_that_comes_too_late_is_refused_once_the_acknowledgement_is_on_disk(
    sqlite: SqliteHand, strategy: Any
) -> None:
    await sqlite.create()
    await remote(sqlite)
    await sqlite.admit("next", strategy=strategy)
    before = everything(sqlite.path)
    heard: list[Decision] = []
    sqlite.changes.listeners.append(lambda thread_id, decision: heard.append(decision))
    sqlite.clock.now += 1
    with pytest.raises(errors.LeaseLost, match="SUPERSEDED"):
        await sqlite.change(commands.SucceedRun("t", "r", 1, '{"a":1}', "digest", by_worker=True))
    (decision,) = heard
    assert decision.writes
    assert decision.upcoming.ready
    after = everything(sqlite.path)
    (thread,), (acknowledged,) = before.pop("threads"), after.pop("threads")
    assert after == before
    columns = zip(columns_of(sqlite.path, "threads"), thread, acknowledged, strict=True)
    assert {name: new for name, old, new in columns if old != new} == dict.fromkeys(STOPPING)
    with pytest.raises(errors.LeaseLost):
        await sqlite.change(commands.SucceedRun("t", "r", 1, '{"a":1}', "digest", by_worker=True))
    assert len(heard) == 1


async def test_neither_heartbeats_nor_acknowledgements_are_updates_of_the_thread(hand: Hand) -> None:
    await hand.create()
    await remote(hand)
    updated = (await hand.store.thread("t")).thread.update_time
    hand.clock.now += 1
    await hand.change(commands.Heartbeat("t", "r", 1, LEASE))
    assert (await hand.store.thread("t")).thread.update_time == updated
    await hand.cancel("r")
    stopped = hand.clock.now
    for request in (commands.Heartbeat("t", "r", 1, LEASE), commands.ReleaseRun("t", "r", 1)):
        hand.clock.now += 1
        assert (await hand.change(request)).writes
        assert (await hand.store.thread("t")).thread.update_time == stopped


# Which thread a run is on


async def test_a_runs_thread_is_known_also_when_it_is_rolled_back_and_that_of_no_run_is_not(hand: Hand) -> None:
    for thread_id in ("t", "u"):
        await hand.create(thread_id)
        await hand.admit(f"on {thread_id}", thread_id)
    for _ in range(2):
        assert [await hand.store.thread_of(f"on {thread_id}") for thread_id in "tu"] == ["t", "u"]
        await hand.cancel("on u", "u", rollback=True)
    assert await hand.store.thread_of("nobody") is None
    assert await hand.store.thread_of("t") is None
    await hand.change(commands.DeleteThread("u"))
    assert await hand.store.thread_of("on u") is None
    await hand.cancel("on t")
    await hand.change(commands.DeleteRun("t", "on t"))
    assert await hand.store.thread_of("on t") is None


async def test_the_thread_of_a_deleted_record_is_known_while_its_attempt_is_awaited(hand: Hand) -> None:
    await hand.create()
    await remote(hand)
    await hand.cancel("r")
    await hand.change(commands.DeleteRun("t", "r"))
    assert await hand.store.thread_of("r") == "t"
    await hand.change(commands.ReleaseRun("t", "r", 1, by_worker=True))
    assert await hand.store.thread_of("r") is None


# Repeated calls

OWN: Final = {"a": 1}


async def repeat(hand: Hand, step: int, update: str = '{"a":1}') -> Decision:
    return await hand.change(commands.CommitStep("t", "r", hand.epochs["r"], update, step, by_worker=True))


async def test_a_step_is_repeated_by_the_run_that_made_it_and_by_no_other(hand: Hand) -> None:
    await hand.create()
    await hand.update(OWN)
    await hand.run_through("old", OWN, given=OWN)
    await hand.admit("r", given=OWN)
    await hand.claim(worker_id="w")
    assert (await repeat(hand, 5)).step == 5
    for attempt in (1, 2):
        assert ((made := await repeat(hand, 5)).writes, made.step) == (False, 5)
        for number in (1, 2, 3, 4):  # by hand, of another run's input and by it, and of the run's own input
            with pytest.raises(errors.InvalidField, match="expected_step"):
                await repeat(hand, number)
        with pytest.raises(errors.InvalidField, match="expected_step"):
            await repeat(hand, 5, '{"a":2}')
        await hand.reopen()
        if attempt == 1:
            hand.clock.now += LEASE
            await hand.change(commands.Tick("t"))
            assert (await hand.claim(worker_id="v")).epoch == 2
    assert [state.step for state in (await hand.store.states("t", 10, None)).items] == [5, 4, 3, 2, 1]


async def test_an_outcome_and_a_release_are_recognised_after_reopening_too(hand: Hand) -> None:
    await hand.create()
    await remote(hand)
    release, finish = commands.ReleaseRun("t", "r", 1), commands.SucceedRun("t", "r", 2, '{"a":1}', "digest")
    for request in (release, finish):
        if request is finish:
            await hand.claim(worker_id="w")
        assert (await hand.change(request)).writes
        await hand.reopen()
        assert not (await hand.change(request)).writes
    decision = await hand.change(finish)
    assert decision.run == (await hand.record("r")).run
    with pytest.raises(errors.LeaseLost, match="SUCCESS"):
        await hand.change(commands.SucceedRun("t", "r", 2, '{"a":1}', "other"))


async def test_a_workers_request_that_is_refused_or_changes_nothing_writes_nothing(sqlite: SqliteHand) -> None:
    await sqlite.create("t")
    await sqlite.create("own")
    await sqlite.admit("s", "own")
    await sqlite.claim("own")
    await remote(sqlite, OWN)
    idle: list[commands.Command] = [
        commands.Tick("t"),
        commands.Recover("t"),
        commands.CommitStep("t", "r", 1, '{"a":1}', 2),
        commands.PublishOutput("t", "r", 1, ()),
    ]
    refused: list[commands.Command] = [
        *(commands.CommitStep("t", "r", epoch, "{}") for epoch in (0, 2)),
        commands.CommitStep("t", "r", 1, "{}", 2),
        commands.Heartbeat("t", "r", 2, LEASE),
        commands.FailRun("t", "r", 2, "E", "m", "digest"),
        commands.CommitStep("own", "s", 1, "{}", by_worker=True),
        commands.PublishOutput("own", "s", 1, (Output("c", "{}"),), by_worker=True),
        commands.Heartbeat("own", "s", 1, LEASE, by_worker=True),
        commands.SucceedRun("own", "s", 1, None, "digest", by_worker=True),
        commands.ReleaseRun("own", "s", 1, by_worker=True),
        commands.Heartbeat("nobody", "r", 1, LEASE),
    ]
    before = sqlite.sqlite.writer._connection.total_changes
    for request in idle:
        assert not (await sqlite.change(request)).writes
    for request in refused:
        with pytest.raises((errors.LeaseLost, errors.InvalidField)):
            await sqlite.change(request)
    assert sqlite.sqlite.writer._connection.total_changes == before
