"""The leases of workers: heartbeats renew a lease, and so does the service while the worker watches the lease."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from doubletext_server.clock import SECOND_US, Clock
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.engine.waiting import Hub, Offers, RunEnded
from doubletext_server.store.protocol import Steer, Store
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost
from doubletext_statemachine.model import Run, StoppingAttempt, Tombstone
from doubletext_statemachine.words import STOPPED, Reason


class LeaseKey(NamedTuple):
    """What identifies a lease: the run, and the epoch under which the attempt claimed the run."""

    run_id: str
    epoch: int


class Stop(NamedTuple):
    """Says that an attempt must stop: why, by which later run, and how long the thread waits for the attempt."""

    reason: Reason
    superseded_by: str | None
    grace_us: int


class Renewal(NamedTuple):
    """A lease after a heartbeat.

    stop    set when the attempt was stopped; the lease then lasts until the grace is over, at most
    steers  what the run may take now
    """

    key: LeaseKey
    expire_time: int | None
    stop: Stop | None = None
    steers: Sequence[Steer] = ()


class Leases:
    """`lease_us`: how long a lease lasts unless it is renewed."""

    def __init__(self, store: Store, changes: Changes, hub: Hub, held: HeldLeases, clock: Clock, lease_us: int) -> None:
        self._store = store
        self._changes = changes
        self._hub = hub
        self._clock = clock
        self._held = held
        self._lease_us = lease_us

    async def thread_of(self, key: LeaseKey) -> str:
        """Return the thread of the lease's run. Raises LeaseLost when the run is gone."""
        if (run := self._held.run(key.run_id)) is not None:
            return run.thread_id
        thread_id = await self._store.thread_of(key.run_id)
        if thread_id is None:
            raise LeaseLost(run_id=key.run_id, epoch=key.epoch, current_epoch=0, cause="DELETED")
        return thread_id

    async def renew(self, key: LeaseKey) -> Renewal:
        decision = await self._beat(key)
        if (stopping := _stopping(decision, key)) is not None:
            return Renewal(key, stopping.until, self._stop(decision, stopping))
        assert isinstance(decision.run, Run)
        steers = await self._store.steers(decision.run.thread_id, key.run_id) if decision.offers else ()
        return Renewal(key, decision.run.lease_expires, steers=steers)

    async def watch(self, key: LeaseKey) -> AsyncGenerator[Stop | Steer, None]:
        """Keep the lease alive. Yield what the run may take, each run once; one Stop if the attempt is stopped; and end
        once nobody waits for the attempt."""
        thread_id = await self.thread_of(key)
        with self._hub.holding(*key) as ended, self._hub.offering(thread_id) as offers:
            stop = await self._earlier_stop(ended, key)
            if stop is None:
                if self._held.has_offers(thread_id):
                    offers.set()
                async with aclosing(self._offered(key, thread_id, ended, offers)) as steers:
                    async for steer in steers:
                        yield steer
                run = ended.result() if ended.done() else None
                if run is None or run.status not in STOPPED:
                    return
                nobody_waits = run.reason is Reason.THREAD_DELETED
                stop = _stop_of(run, 0 if nobody_waits else run.assistant.stop_grace)
            yield stop
        await self._keep_until_stopped(key)

    async def _earlier_stop(self, ended: RunEnded, key: LeaseKey) -> Stop | None:
        """Return the stop of an attempt that was stopped before the watch.

        None: the lease is held, or ended just now.
        """
        if self._renewal_in(key) > 0:
            return None
        try:
            decision = await self._beat(key)
        except LeaseLost:
            if ended.done():
                return None
            raise
        stopping = _stopping(decision, key)
        return None if stopping is None else self._stop(decision, stopping)

    async def _offered(
        self, key: LeaseKey, thread_id: str, ended: RunEnded, offers: Offers
    ) -> AsyncGenerator[Steer, None]:
        """Keep the lease alive until it is over, and yield what the run may take meanwhile."""
        told: set[str] = set()
        while not ended.done():
            if offers.is_set():
                offers.clear()
                for steer in await self._store.steers(thread_id, key.run_id):
                    if steer.run_id not in told:
                        told.add(steer.run_id)
                        yield steer
                continue
            if (renewal := self._renewal_in(key)) > 0:
                await _either(ended, offers, renewal)
                continue
            try:
                await self._beat(key)
            except LeaseLost:
                return
            await asyncio.sleep(0)

    def _renewal_in(self, key: LeaseKey) -> float:
        """Return the seconds until a third of the lease is over. 0 for later, and for a lease that is not known."""
        run = self._held.run(key.run_id)
        if run is None or run.lease_expires is None or run.epoch != key.epoch:
            return 0
        left_us = run.lease_expires - self._clock() - self._lease_us * 2 // 3
        return min(max(left_us, 0), self._lease_us / 3) / SECOND_US

    async def _keep_until_stopped(self, key: LeaseKey) -> None:
        """Keep the lease of a stopped attempt alive until the stop is acknowledged or the grace is over."""
        thread_id = await self._store.thread_of(key.run_id)
        if thread_id is None:
            return
        with self._hub.stopping(thread_id, key.run_id) as stopped:
            while not stopped.done():
                try:
                    await self._beat(key)
                except LeaseLost:
                    return
                await asyncio.wait([stopped], timeout=self._lease_us / SECOND_US / 3)

    async def _beat(self, key: LeaseKey) -> Decision:
        command = commands.Heartbeat(await self.thread_of(key), *key, self._lease_us, by_worker=True)
        return await self._changes.change(command)

    def _stop(self, decision: Decision, stopping: StoppingAttempt) -> Stop:
        return _stop_of(decision.run, stopping.grace_until - self._clock())


async def _either(ended: RunEnded, offers: Offers, seconds: float) -> None:
    """Return at the end of the lease, at an offer, or after so many seconds."""
    offered = asyncio.create_task(offers.wait())
    either: list[asyncio.Future[Any]] = [ended, offered]
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        offered.cancel()


def _stopping(decision: Decision, key: LeaseKey) -> StoppingAttempt | None:
    """Return the attempt of this lease if it was stopped and its thread waits for it."""
    stopping = decision.thread.stopping if decision.thread else None
    return stopping if stopping is not None and (stopping.run_id, stopping.epoch) == key else None


def _stop_of(run: Run | Tombstone | None, grace_us: int) -> Stop:
    """Return the stop of a run. When the run's record was deleted since (None), the stop says CANCELLED."""
    grace_us = max(grace_us, 0)
    if run is None or run.reason is None:
        return Stop(Reason.CANCELLED, None, grace_us)
    return Stop(run.reason, run.superseded_by, grace_us)
