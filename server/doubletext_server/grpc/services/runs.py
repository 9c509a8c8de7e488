"""RunService."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

from uuid6 import uuid7

from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceServicer
from doubletext_server.engine.eventlog import Feed
from doubletext_server.engine.waiting import Hub
from doubletext_server.grpc import wire
from doubletext_server.grpc.edge import Context
from doubletext_server.grpc.wire import MOST_FILTERS, Fields
from doubletext_server.store.protocol import LARGEST_PAGE, RunRecord, State, Store
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import RunNotFound, RunRolledBack, StepNotFound, ThreadNotFound
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.words import TERMINAL, CancelAction, RunStatus, Strategy


class Runs(RunServiceServicer):
    def __init__(self, store: Store, hub: Hub, feed: Feed, default_strategy: Strategy, max_queued_runs: int) -> None:
        self._store = store
        self._hub = hub
        self._feed = feed
        self._default_strategy = default_strategy
        self._max_queued_runs = max_queued_runs

    async def CreateRun(self, request: pb.CreateRunRequest, context: Context) -> pb.CreateRunResponse:
        admission = self._admission(request)
        decision = await self._store.change(admission)
        if decision.repeated is not None:
            return await self._repeated(decision.repeated, request.thread_id)
        assert isinstance(decision.run, Run)
        admitted = wire.run(RunRecord(decision.run, None, None, decision.queue_position))
        response = pb.CreateRunResponse(run=admitted, superseded=await self._superseded(decision))
        wire.copy_object(response.run.input, request.input)
        wire.copy_object(response.run.metadata, request.metadata)
        return response

    def _admission(self, request: pb.CreateRunRequest) -> commands.AdmitRun:
        fields = Fields()
        creates = fields.enum("if_thread_not_exists", request.if_thread_not_exists, wire.IF_THREAD_NOT_EXISTS)
        assistant_id = fields.id("assistant_id", request.assistant_id)
        admission = commands.AdmitRun(
            thread_id=fields.id("thread_id", request.thread_id),
            run_id=str(uuid7()),
            assistant_id=assistant_id,
            assistant=self._store.assistant(assistant_id),
            input=fields.json("input", request.input),
            metadata=fields.metadata("metadata", request.metadata),
            strategy=fields.enum("multitask_strategy", request.multitask_strategy, wire.STRATEGY),
            default_strategy=self._default_strategy,
            max_queued_runs=self._max_queued_runs,
            request_id=fields.given_id("request_id", request),
            create_thread=creates is wire.IfThreadNotExists.CREATE,
            delay=fields.duration("delay", request) or 0,
            timeout=fields.duration("timeout", request, least=1),
        )
        fields.check()
        if admission.request_id is None:
            return admission
        content = (
            admission.assistant_id,
            admission.input,
            admission.metadata,
            admission.strategy,
            admission.create_thread,
            admission.delay,
            admission.timeout,
        )
        return replace(admission, digest=wire.digest(*content))

    async def _repeated(self, run_id: str, thread_id: str) -> pb.CreateRunResponse:
        found = await self._store.run(run_id)
        if found is None:
            raise RunNotFound(run_id, thread_id)
        superseded = await self._store.superseded_by(run_id)
        return pb.CreateRunResponse(run=wire.any_run(found), superseded=map(wire.any_run, _fitting(superseded)))

    async def _superseded(self, decision: Decision) -> list[resources.Run]:
        kept: dict[str, RunRecord] = {}
        if decision.admitted and any(run.status is not RunStatus.DELETED for run in decision.superseded):
            records = await self._store.superseded_by(decision.admitted.run_id)
            kept = {record.run.run_id: record for record in _fitting(records) if isinstance(record, RunRecord)}
        return [wire.run(kept.get(run.run_id) or RunRecord(run, None, None)) for run in decision.superseded]

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        fields = Fields()
        key = _key(fields, request)
        fields.check()
        return pb.GetRunResponse(run=wire.run(await self._record(*key)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        fields = Fields()
        thread_id = fields.id("thread_id", request.thread_id)
        statuses = fields.enums("statuses", request.statuses, wire.RUN_STATUS)
        metadata = fields.metadata("metadata", request.metadata, MOST_FILTERS)
        binding = ("runs", thread_id, sorted(request.statuses), request.oldest_first, metadata)
        size, after = fields.page(request, 1000, 100, (int,), *binding)
        page = await self._store.runs(thread_id, statuses, request.oldest_first, size, after, metadata)
        return pb.ListRunsResponse(runs=map(wire.run, page.items), next_page_token=wire.token(page.next, *binding))

    async def JoinRun(self, request: pb.JoinRunRequest, context: Context) -> pb.JoinRunResponse:
        fields = Fields()
        run_id, thread_id = _key(fields, request)
        wait = fields.duration("wait", request)
        fields.check()
        with self._hub.joining(run_id) as ended:
            record = await self._record(run_id, thread_id)
            if record.run.status not in TERMINAL:
                record = await self._ended(record, ended, wait)
        record, state = await self._with_state(record)
        return pb.JoinRunResponse(run=wire.run(record), state=wire.state(state))

    async def _ended(self, record: RunRecord, ended: asyncio.Future[Run], wait: int | None) -> RunRecord:
        """The run once it is final, or as it is after `wait` microseconds."""
        try:
            async with asyncio.timeout(None if wait is None else wait / wire.SECOND):
                run = await ended
        except TimeoutError:
            return await self._record(record.run.run_id, record.run.thread_id)
        return _as_of(record, run)

    async def _with_state(self, record: RunRecord) -> tuple[RunRecord, State]:
        """The run, and the state that it left, or the thread's newest while it is not final: both of one moment.

        Raises RunNotFound or RunRolledBack when the run is gone by now. One that was deleted while it was joined is
        told as it ended.
        """
        run = record.run
        if run.status is RunStatus.DELETED:
            return record, await self._left_by_deleted(run)
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id)
        except ThreadNotFound:
            raise RunNotFound(run.run_id, run.thread_id) from None
        return _existing(found, run.run_id, run.thread_id), state

    async def _left_by_deleted(self, run: Run) -> State:
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id, run.left_state_at)
        except (ThreadNotFound, StepNotFound):
            found = None
        if found is None:  # it is gone with its thread: one made anew under this id is another
            return State(run.thread_id, 0, None, run.create_time, {})
        return state

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        fields = Fields()
        run_id, thread_id = _key(fields, request)
        action = fields.enum("action", request.action, wire.CANCEL_ACTION) or CancelAction.INTERRUPT
        wait = fields.duration("wait", request)
        fields.check()
        found = await self._find(run_id, thread_id)
        if isinstance(found, Tombstone):
            return pb.CancelRunResponse(run=wire.buried_run(found))
        thread_id = found.run.thread_id
        decision = await self._store.change(commands.CancelRun(thread_id, run_id, action))
        if isinstance(decision.run, Tombstone):
            return pb.CancelRunResponse(run=wire.buried_run(decision.run))
        assert decision.run is not None
        if wait and decision.thread and decision.thread.stopping and decision.thread.stopping.run_id == run_id:
            with self._hub.stopping(thread_id, run_id) as idle:
                await asyncio.wait([idle], timeout=wait / wire.SECOND)
        return pb.CancelRunResponse(run=wire.run(_as_of(found, decision.run)))

    async def DeleteRun(self, request: pb.DeleteRunRequest, context: Context) -> pb.DeleteRunResponse:
        fields = Fields()
        key = _key(fields, request)
        fields.check()
        record = await self._record(*key)
        try:
            await self._store.change(commands.DeleteRun(record.run.thread_id, record.run.run_id))
        except RunNotFound:
            await self._record(*key)  # raises RunRolledBack, if that is what happened to it since it was read
            raise
        return pb.DeleteRunResponse()

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        fields = Fields()
        key = _key(fields, request)
        after = fields.sequence("after_sequence", request.after_sequence)
        fields.check()
        record = await self._record(*key)
        async with aclosing(self._feed.of_run(record.run, after)) as events:
            async for event in events:
                yield pb.WatchRunResponse(event=event)

    async def _record(self, run_id: str, thread_id: str) -> RunRecord:
        return _existing(await self._find(run_id, thread_id), run_id, thread_id)

    async def _find(self, run_id: str, thread_id: str) -> RunRecord | Tombstone:
        """The run or its tombstone. Raises RunNotFound, also when it is another thread's."""
        found = await self._store.run(run_id)
        owner = found.thread_id if isinstance(found, Tombstone) else found and found.run.thread_id
        if found is None or (thread_id and thread_id != owner):
            raise RunNotFound(run_id, thread_id)
        return found


def _existing(found: RunRecord | Tombstone | None, run_id: str, thread_id: str) -> RunRecord:
    if found is None:
        raise RunNotFound(run_id, thread_id)
    if isinstance(found, Tombstone):
        raise RunRolledBack(
            run_id=run_id,
            thread_id=found.thread_id,
            superseded_by=found.superseded_by or "",
            deleted_at=wire.rfc3339(found.delete_time),
            cause=found.reason.value,
        )
    return found


def _fitting(records: list[RunRecord | Tombstone]) -> Iterator[RunRecord | Tombstone]:
    """The records, without what they were given once that is too much for one answer."""
    size = 0
    for record in records:
        if isinstance(record, RunRecord):
            size += len(record.input or "") + len(record.metadata or "")
            yield record if size <= LARGEST_PAGE else RunRecord(record.run, None, None)
        else:
            yield record


def _as_of(record: RunRecord, run: Run) -> RunRecord:
    """The record with the run as it is now: of one that was deleted, nothing that it was given is left."""
    if run.status is RunStatus.DELETED:
        return RunRecord(run, None, None)
    return replace(record, run=run, queue_position=0)


def _key(
    fields: Fields,
    request: pb.GetRunRequest | pb.JoinRunRequest | pb.CancelRunRequest | pb.DeleteRunRequest | pb.WatchRunRequest,
) -> tuple[str, str]:
    return fields.id("run_id", request.run_id), fields.optional_id("thread_id", request.thread_id)
