"""Claim runs for workers, commit their steps and outputs, renew their leases, and end them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import structlog

from doubletext.graph import LONGEST_CHANNEL
from doubletext.jsontext import canonical
from doubletext_server.clock import SECOND_US, Clock
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.dispatcher import Dispatcher
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.engine.live import LiveOutputs
from doubletext_server.engine.waiting import Hub
from doubletext_server.store.protocol import RunRecord, State, Steer, Store
from doubletext_server.usecases.digests import digest
from doubletext_server.usecases.leases import LeaseKey, Leases, Renewal, Stop
from doubletext_server.usecases.limits import LONGEST_WAIT_US, MOST_ABSORBED, MOST_GRAPHS
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import Given, JsonObject
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost, Refusal, ThreadNotFound, TooLarge
from doubletext_statemachine.model import Output, Run

log = structlog.get_logger("workers")


class Assignment(NamedTuple):
    """A claimed run with its lease, and the state that the attempt starts from."""

    record: RunRecord
    state: State


class Stepped(NamedTuple):
    """What a CommitStep made.

    step      the newest step of the thread
    absorbed  what became steps of the run, in order
    steers    what the run may take now
    """

    step: int
    absorbed: Sequence[Steer]
    steers: Sequence[Steer]


class NewOutput(NamedTuple):
    channel: str
    data: JsonObject


class Success(NamedTuple):
    """The outcome of a run whose graph finished. `update` is a last step, in the same commit; None: no last step."""

    update: JsonObject | None = None


class Failure(NamedTuple):
    type: str
    message: str


class Workers:
    """`lease_us`: how long a lease lasts unless it is renewed."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        hub: Hub,
        dispatcher: Dispatcher,
        held: HeldLeases,
        live: LiveOutputs,
        clock: Clock,
        lease_us: int,
    ) -> None:
        self._live = live
        self._store = store
        self._changes = changes
        self._dispatcher = dispatcher
        self._lease_us = lease_us
        self._leases = Leases(store, changes, hub, held, clock, lease_us)
        self._returns: set[asyncio.Task[None]] = set()

    async def claim(
        self, worker_id: str, graphs: Sequence[str], wait_us: Given[int | None] = None
    ) -> Assignment | None:
        """Claim the next run of one of the graphs.

        Returns None when no run could be claimed within the wait. A wait of None is no wait.
        """
        fields = Fields()
        fields.id("worker_id", worker_id)
        names = frozenset[str]()
        if fields.most("graphs", len(graphs), MOST_GRAPHS, "graphs"):
            names = frozenset(fields.id(f"graphs[{index}]", graph) for index, graph in enumerate(graphs))
        if not graphs:
            fields.wrong("graphs", "is required: the names of the graphs that this worker executes")
        wait = fields.duration("wait", wait_us, most_us=LONGEST_WAIT_US) or 0
        fields.check()
        until = asyncio.get_running_loop().time() + wait / SECOND_US
        while True:
            try:
                async with asyncio.timeout_at(until):
                    thread_id = await self._dispatcher.next(names)
            except TimeoutError:
                return None
            assignment = await self._claim(commands.ClaimRun(thread_id, names, worker_id, self._lease_us))
            if assignment is not None:
                return assignment

    async def _claim(self, command: commands.ClaimRun) -> Assignment | None:
        """Claim the thread's next run. Return None if another claimer was faster.

        When the caller hangs up during the claim, the claim is taken back.
        """
        claim = asyncio.create_task(self._changes.change(command))
        try:
            run = (await asyncio.shield(claim)).run
            if not isinstance(run, Run):
                return None
            assignment = await self._assignment(run)
            if assignment is None:  # nobody executes the run, so the thread need not wait for it
                self._take_back(claim)
            return assignment
        except asyncio.CancelledError:
            self._take_back(claim)
            raise
        except Refusal:
            self._dispatcher.retry(command.thread_id)
            raise

    async def _assignment(self, run: Run) -> Assignment | None:
        """Read the assignment. Return None if the run was stopped meanwhile and its state is deleted."""
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id)
        except ThreadNotFound:
            return None
        if not isinstance(found, RunRecord) or state.step != run.last_step:
            return None
        return Assignment(replace(found, run=run, queue_position=0), state)

    async def give_up(self, assignment: Assignment, why: TooLarge) -> None:
        """End a run ERROR that was claimed and cannot be handed out."""
        run = assignment.record.run
        log.warning("a run cannot be handed to a worker", run_id=run.run_id, thread_id=run.thread_id, error=str(why))
        with suppress(LeaseLost):  # it was stopped meanwhile
            await self._changes.change(
                commands.FailRun(run.thread_id, run.run_id, run.epoch, "TOO_LARGE", str(why), by_worker=True)
            )

    def _take_back(self, claim: asyncio.Task[Decision]) -> None:
        async def take_back() -> None:
            try:
                run = (await claim).run
                if isinstance(run, Run):
                    await self._changes.change(
                        commands.ReleaseRun(run.thread_id, run.run_id, run.epoch, by_worker=True)
                    )
            except Refusal as refusal:
                log.info("a claim whose caller is gone was not taken back", error=str(refusal))

        task = asyncio.create_task(take_back())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def commit_step(
        self,
        lease: LeaseKey | None,
        update: JsonObject | None,
        expected_step: int | None = None,
        absorb: Sequence[str] = (),
    ) -> Stepped:
        """Commit a step, and the inputs of the runs `absorb` as further ones. A repeated call returns what the first
        one made. Ids of runs that are not on offer are passed over."""
        fields = Fields()
        key = _key(fields, lease)
        text = None
        if update is not None or not absorb:
            text = fields.required_json("update", update, "what the step changes")
        if fields.most("absorb", len(absorb), MOST_ABSORBED, "runs"):
            for index, run_id in enumerate(absorb):
                fields.id(f"absorb[{index}]", run_id)
        if expected_step is not None and expected_step < 1:
            fields.wrong("expected_step", f"is {expected_step}; steps are 1, 2, 3 …")
        fields.check()
        thread_id = await self._leases.thread_of(key)
        command = commands.CommitStep(thread_id, *key, text, expected_step, tuple(absorb), by_worker=True)
        await self._live.keep(key.run_id)
        decision = await self._changes.change(command)
        absorbed = await self._store.taken(decision.absorbed) if decision.absorbed else ()
        steers = await self._store.steers(thread_id, key.run_id) if decision.offers else ()
        return Stepped(decision.step, absorbed, steers)

    async def publish_output(
        self, lease: LeaseKey | None, outputs: Sequence[NewOutput], *, live_only: bool = False
    ) -> None:
        """Add outputs. live_only: show them at once, and keep them a little later."""
        fields = Fields()
        key = _key(fields, lease)
        for index, output in enumerate(outputs):
            if (size := len(output.channel)) > LONGEST_CHANNEL:
                fields.wrong(f"outputs[{index}].channel", f"has {size} characters; it may have {LONGEST_CHANNEL}")
        published = tuple(
            Output(output.channel, fields.json(f"outputs[{index}].data", output.data))
            for index, output in enumerate(outputs)
        )
        fields.check()
        thread_id = await self._leases.thread_of(key)
        command = commands.PublishOutput(thread_id, *key, published, by_worker=True)
        if live_only:
            await self._live.publish(command)
        else:
            await self._live.keep(key.run_id)
            await self._changes.change(command)

    async def heartbeat(self, lease: LeaseKey | None) -> Renewal:
        return await self._leases.renew(_checked(lease))

    def watch_lease(self, lease: LeaseKey | None) -> AsyncGenerator[Stop | Steer, None]:
        """See Leases.watch."""
        return self._leases.watch(_checked(lease))

    async def finish(self, lease: LeaseKey | None, outcome: Success | Failure | None) -> RunRecord:
        """End the run and return it. A repeated call is recognised by its outcome."""
        fields = Fields()
        key = _key(fields, lease)
        if outcome is None:
            fields.wrong("outcome", "is required: success or error")
        update = None
        if isinstance(outcome, Success) and outcome.update is not None:
            update = fields.json("success.update", outcome.update)
        fields.check()
        thread_id = await self._leases.thread_of(key)
        command: commands.SucceedRun | commands.FailRun
        if isinstance(outcome, Failure):
            command = commands.FailRun(thread_id, *key, *outcome, digest("error", *outcome), by_worker=True)
        else:
            command = commands.SucceedRun(
                thread_id, *key, update, digest("success", update and canonical(update)), by_worker=True
            )
        await self._live.keep(key.run_id)
        decision = await self._changes.change(command)
        assert isinstance(decision.run, Run)
        found = await self._store.run(key.run_id)
        record = found if isinstance(found, RunRecord) else RunRecord(decision.run, None, None)
        return replace(record, run=decision.run)

    async def release(self, lease: LeaseKey | None) -> None:
        """Hand the run back to its place in the queue, or acknowledge that it was stopped."""
        key = _checked(lease)
        thread_id = await self._leases.thread_of(key)
        await self._live.keep(key.run_id)
        await self._changes.change(commands.ReleaseRun(thread_id, *key, by_worker=True))

    async def close(self) -> None:
        """Wait until all claims of callers that hung up are taken back."""
        await asyncio.gather(*self._returns)


def _checked(lease: LeaseKey | None) -> LeaseKey:
    fields = Fields()
    key = _key(fields, lease)
    fields.check()
    return key


def _key(fields: Fields, lease: LeaseKey | None) -> LeaseKey:
    if lease is None:
        fields.wrong("lease", "is required: the one that ClaimRun gave")
        return LeaseKey("", 0)
    if lease.epoch < 1:
        fields.wrong("lease.epoch", f"is {lease.epoch}; epochs are 1, 2, 3 …")
    fields.id("lease.run_id", lease.run_id)
    return lease
