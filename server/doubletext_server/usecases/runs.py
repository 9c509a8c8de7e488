"""Create, read, join, cancel, delete and watch runs.

A call names a run by its id. It may name a thread too; then a run of another thread is not found. The empty text stands
for no thread.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from doubletext_server.clock import SECOND_US, rfc3339
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.eventlog import EventLog, EventPage
from doubletext_server.engine.live import LiveOutputs
from doubletext_server.engine.waiting import Hub
from doubletext_server.store.protocol import RunRecord, State, Store
from doubletext_server.usecases.admission import Admission, Admissions, NewRun
from doubletext_server.usecases.limits import LONGEST_WAIT_US, MOST_FILTERS
from doubletext_server.usecases.paging import Listing, PageRequest, Pages
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import Given, JsonObject
from doubletext_statemachine import commands
from doubletext_statemachine.errors import RunNotFound, RunRolledBack, StepNotFound, ThreadNotFound
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.words import TERMINAL, CancelAction, RunStatus, Strategy

Record = TypeVar("Record", RunRecord, RunRecord | Tombstone)


class Runs:
    def __init__(
        self,
        store: Store,
        changes: Changes,
        hub: Hub,
        events: EventLog,
        live: LiveOutputs,
        serves: Callable[[str], bool],
        default_strategy: Strategy,
        max_queued_runs: int,
    ) -> None:
        self._store = store
        self._changes = changes
        self._hub = hub
        self._live = live
        self._serves = serves
        self._events = events
        self._admissions = Admissions(store, changes, default_strategy, max_queued_runs)

    async def create(self, new: NewRun) -> Admission:
        admission = await self._admissions.admit(new)
        return admission._replace(run=self._told(admission.run))

    async def get(self, run_id: str, thread_id: str = "") -> RunRecord:
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        fields.check()
        return self._told(await self._record(run_id, thread_id))

    async def list(
        self,
        thread_id: str,
        statuses: Sequence[Given[RunStatus]],
        metadata: JsonObject,
        page: PageRequest,
        *,
        oldest_first: bool = False,
    ) -> Listing[RunRecord]:
        """List the runs of a thread, by sequence.

        statuses  only runs with one of these statuses; empty: all runs
        metadata  only runs whose metadata has each of these keys with an equal value
        """
        fields = Fields()
        fields.id("thread_id", thread_id)
        wanted = fields.each("statuses", statuses)
        filters = fields.metadata("metadata", metadata, MOST_FILTERS)
        binding = ("runs", thread_id, sorted(status.value for status in wanted), oldest_first, filters)
        pages = Pages(*binding, shape=(int,), most=1000, default=100)
        size, after = pages.read(fields, page)
        listing = pages.listing(await self._store.runs(thread_id, wanted, oldest_first, size, after, filters))
        return replace(listing, items=[self._told(record) for record in listing.items])

    async def join(
        self, run_id: str, thread_id: str = "", wait_us: Given[int | None] = None, *, follow: bool = False
    ) -> tuple[RunRecord, State]:
        """Wait until the run is final, or until the wait is over (None: no limit). Return the run and its state.

        follow  go on with the run that superseded it or took it, and so on; the last one is answered
        """
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        wait = fields.duration("wait", wait_us, most_us=LONGEST_WAIT_US)
        fields.check()
        until = None if wait is None else asyncio.get_running_loop().time() + wait / SECOND_US
        if follow:
            run_id = await self._beyond_tombstones(run_id, thread_id)
        record = await self._joined(run_id, thread_id, until)
        while follow and record.run.status in TERMINAL and (later := _later(record.run)):
            try:
                record = await self._joined(await self._beyond_tombstones(later, thread_id), thread_id, until)
            except RunNotFound:  # its record was deleted, and with it the way on
                break
        if record.run.status is RunStatus.DELETED:
            return record, await self._left_by_deleted(record.run)
        found, state = await self._with_state(record.run)
        return self._told(found), state

    async def _joined(self, run_id: str, thread_id: str, until: float | None) -> RunRecord:
        """The run once it is final, or at the time, of the event loop, at which that is no longer waited for."""
        with self._hub.joining(run_id) as ended:
            record = await self._record(run_id, thread_id)
            if record.run.status not in TERMINAL:
                record = await self._ended(record, ended, until)
        return record

    async def _beyond_tombstones(self, run_id: str, thread_id: str) -> str:
        """The first run that is there, from this one on along what superseded or took it; else the last id."""
        while isinstance(found := await self._find(run_id, thread_id), Tombstone) and (later := _later(found)):
            run_id = later
        return run_id

    def _told(self, record: Record) -> Record:
        """The record, with whether it waits for somebody who executes its graph."""
        if not isinstance(record, RunRecord) or record.run.status is not RunStatus.PENDING:
            return record
        return record if self._serves(record.run.assistant.graph) else replace(record, unserved=True)

    async def _ended(self, record: RunRecord, ended: asyncio.Future[Run], until: float | None) -> RunRecord:
        try:
            async with asyncio.timeout_at(until):
                run = await ended
        except TimeoutError:
            return await self._record(record.run.run_id, record.run.thread_id)
        return _as_of(record, run)

    async def _with_state(self, run: Run) -> tuple[RunRecord, State]:
        """Read the run and the state that it left, at one moment.

        For a run that is not final, the state is the thread's newest one.
        Raises RunNotFound or RunRolledBack when the run was deleted meanwhile.
        """
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id)
        except ThreadNotFound:
            raise RunNotFound(run.run_id, run.thread_id) from None
        return _existing(found, run.run_id, run.thread_id), state

    async def _left_by_deleted(self, run: Run) -> State:
        """Return the state that a run left which was deleted during the call."""
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id, run.left_state_at)
        except (ThreadNotFound, StepNotFound):
            found = None
        if found is None:  # the thread was deleted; a later thread with this id is another thread
            return State(run.thread_id, 0, None, run.create_time, "{}")
        return state

    async def cancel(
        self,
        run_id: str,
        thread_id: str = "",
        action: Given[CancelAction | None] = None,
        wait_us: Given[int | None] = None,
    ) -> RunRecord | Tombstone:
        """Stop the run, and wait for its code to end.

        action   None: INTERRUPT
        wait_us  how long to wait, in microseconds; None: no wait
        """
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        action = fields.readable("action", action) or CancelAction.INTERRUPT
        wait = fields.duration("wait", wait_us, most_us=LONGEST_WAIT_US)
        fields.check()
        found = await self._find(run_id, thread_id)
        if isinstance(found, Tombstone):
            return found
        thread_id = found.run.thread_id
        decision = await self._changes.change(commands.CancelRun(thread_id, run_id, action))
        if isinstance(decision.run, Tombstone):
            return decision.run
        assert decision.run is not None
        if wait and decision.thread and decision.thread.stopping and decision.thread.stopping.run_id == run_id:
            with self._hub.stopping(thread_id, run_id) as stopped:
                await asyncio.wait([stopped], timeout=wait / SECOND_US)
        return _as_of(found, decision.run)

    async def delete(self, run_id: str, thread_id: str = "") -> None:
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        fields.check()
        record = await self._record(run_id, thread_id)
        try:
            await self._changes.change(commands.DeleteRun(record.run.thread_id, run_id))
        except RunNotFound:
            await self._record(run_id, thread_id)  # raises RunRolledBack if the run was rolled back meanwhile
            raise

    async def watch(
        self, run_id: str, thread_id: str = "", after_sequence: int = 0, *, live: bool = False
    ) -> AsyncGenerator[EventPage, None]:
        """Return a stream of the run's events after a sequence, up to the event that makes the run final.

        live: and of what it shows meanwhile
        """
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        fields.sequence("after_sequence", after_sequence)
        fields.check()
        record = await self._record(run_id, thread_id)
        pages = self._events.of_run(record.run, after_sequence)
        return self._live.watched(pages, record.run.thread_id, run_id) if live else pages

    async def _record(self, run_id: str, thread_id: str) -> RunRecord:
        return _existing(await self._find(run_id, thread_id), run_id, thread_id)

    async def _find(self, run_id: str, thread_id: str) -> RunRecord | Tombstone:
        """Return the run or its tombstone. Raises RunNotFound, also for a run of another thread."""
        found = await self._store.run(run_id)
        owner = found.thread_id if isinstance(found, Tombstone) else found and found.run.thread_id
        if found is None or (thread_id and thread_id != owner):
            raise RunNotFound(run_id, thread_id)
        return found


def _later(run: Run | Tombstone) -> str | None:
    """The run that goes on with what it was for."""
    return run.merged_into or run.superseded_by


def _check_key(fields: Fields, run_id: str, thread_id: str) -> None:
    fields.id("run_id", run_id)
    fields.optional_id("thread_id", thread_id)


def _existing(found: RunRecord | Tombstone | None, run_id: str, thread_id: str) -> RunRecord:
    if found is None:
        raise RunNotFound(run_id, thread_id)
    if isinstance(found, Tombstone):
        raise RunRolledBack(
            run_id=run_id,
            thread_id=found.thread_id,
            superseded_by=found.superseded_by or "",
            deleted_at=rfc3339(found.delete_time),
            cause=found.reason.value,
        )
    return found


def _as_of(record: RunRecord, run: Run) -> RunRecord:
    """Return the record with `run` in it. The record of a deleted run has no input and no metadata."""
    if run.status is RunStatus.DELETED:
        return RunRecord(run, None, None)
    return replace(record, run=run, queue_position=0)
