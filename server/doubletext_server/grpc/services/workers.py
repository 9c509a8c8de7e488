"""WorkerService: runs executed outside the server, under leases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import structlog

from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceServicer
from doubletext_server.clock import Clock
from doubletext_server.engine.dispatcher import Dispatcher
from doubletext_server.engine.waiting import Ended, Hub
from doubletext_server.grpc import wire
from doubletext_server.grpc.edge import Context
from doubletext_server.grpc.wire import Fields
from doubletext_server.store.protocol import RunRecord, Store
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost, Refusal, ThreadNotFound
from doubletext_statemachine.model import Output, Run, StoppingAttempt
from doubletext_statemachine.words import STOPPED, LeaseCause, Reason, RunStatus

log = structlog.get_logger("workers")


class Workers(WorkerServiceServicer):
    """`lease`: microseconds that a lease lasts unless it is renewed."""

    def __init__(self, store: Store, hub: Hub, dispatcher: Dispatcher, clock: Clock, lease: int) -> None:
        self._store = store
        self._hub = hub
        self._dispatcher = dispatcher
        self._clock = clock
        self._lease = lease
        self._held: dict[str, Run] = {}  # as the last commits left them; after a restart it lacks those not yet renewed
        self._returns: set[asyncio.Task[None]] = set()

    def on_commit(self, decision: Decision) -> None:
        """Take note of a commit: which runs are under a lease, and until when."""
        for run in decision.moved:
            if run.status is RunStatus.RUNNING and run.lease_expires is not None:
                self._held[run.run_id] = run
            else:
                self._held.pop(run.run_id, None)

    async def ClaimRun(self, request: pb.ClaimRunRequest, context: Context) -> pb.ClaimRunResponse:
        fields = Fields()
        worker_id = fields.id("worker_id", request.worker_id)
        graphs = frozenset(fields.id(f"graphs[{index}]", graph) for index, graph in enumerate(request.graphs))
        if not graphs:
            fields.wrong("graphs", "is required: the names of the graphs that this worker executes")
        wait = fields.duration("wait", request) or 0
        fields.check()
        until = asyncio.get_running_loop().time() + wait / wire.SECOND
        while True:
            try:
                async with asyncio.timeout_at(until):
                    thread_id = await self._dispatcher.next(graphs)
            except TimeoutError:
                return pb.ClaimRunResponse()
            assignment = await self._claim(commands.ClaimRun(thread_id, graphs, worker_id, self._lease))
            if assignment is not None:
                return pb.ClaimRunResponse(assignment=assignment)

    async def _claim(self, request: commands.ClaimRun) -> pb.Assignment | None:
        """The thread's next run, None if somebody was faster. Of a caller who hangs up meanwhile it is taken back."""
        claim = asyncio.create_task(self._store.change(request))
        try:
            run = (await asyncio.shield(claim)).run
            if not isinstance(run, Run):
                return None
            assignment = await self._assignment(run)
            if assignment is None:  # nobody executes it: its thread has no last word to wait for
                self._take_back(claim)
            return assignment
        except asyncio.CancelledError:
            self._take_back(claim)
            raise
        except Refusal:
            self._dispatcher.retry(request.thread_id)
            raise

    async def _assignment(self, run: Run) -> pb.Assignment | None:
        """None if the run was stopped since, and its state is gone."""
        try:
            found, state = await self._store.run_and_state(run.run_id, run.thread_id)
        except ThreadNotFound:
            return None
        if not isinstance(found, RunRecord) or state.step != run.last_step:
            return None
        return pb.Assignment(
            lease=wire.lease(run),
            run=wire.run(replace(found, run=run, queue_position=0)),
            assistant=wire.assistant(run.assistant),
            state=wire.state(state),
        )

    def _take_back(self, claim: asyncio.Task[Decision]) -> None:
        async def take_back() -> None:
            try:
                run = (await claim).run
                if isinstance(run, Run):
                    await self._store.change(commands.ReleaseRun(run.thread_id, run.run_id, run.epoch, by_worker=True))
            except Refusal as refusal:
                log.info("a claim whose caller is gone was not taken back", error=str(refusal))

        task = asyncio.create_task(take_back())
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def CommitStep(self, request: pb.CommitStepRequest, context: Context) -> pb.CommitStepResponse:
        fields = Fields()
        run_id, epoch = _lease(fields, request)
        if not request.HasField("update"):
            fields.wrong("update", "is required: what the step changes, a JSON object")
        update = fields.json("update", request.update)
        expected = request.expected_step if request.HasField("expected_step") else None
        if expected is not None and expected < 1:
            fields.wrong("expected_step", f"is {expected}; steps are 1, 2, 3 …")
        fields.check()
        thread_id = await self._thread_of(run_id, epoch)
        decision = await self._store.change(
            commands.CommitStep(thread_id, run_id, epoch, update, expected, by_worker=True)
        )
        return pb.CommitStepResponse(step=decision.step)

    async def PublishOutput(self, request: pb.PublishOutputRequest, context: Context) -> pb.PublishOutputResponse:
        fields = Fields()
        run_id, epoch = _lease(fields, request)
        outputs = tuple(
            Output(output.channel, fields.json(f"outputs[{index}].data", output.data))
            for index, output in enumerate(request.outputs)
        )
        fields.check()
        thread_id = await self._thread_of(run_id, epoch)
        await self._store.change(commands.PublishOutput(thread_id, run_id, epoch, outputs, by_worker=True))
        return pb.PublishOutputResponse()

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatResponse:
        fields = Fields()
        key = _lease(fields, request)
        fields.check()
        decision = await self._beat(*key)
        if (stopping := _drain(decision, *key)) is not None:
            return pb.HeartbeatResponse(lease=wire.stopping_lease(stopping), stop=self._stop(decision, stopping))
        assert isinstance(decision.run, Run)
        return pb.HeartbeatResponse(lease=wire.lease(decision.run))

    async def WatchLease(self, request: pb.WatchLeaseRequest, context: Context) -> AsyncIterator[pb.WatchLeaseResponse]:
        fields = Fields()
        key = _lease(fields, request)
        fields.check()
        with self._hub.holding(*key) as ended:
            stop = await self._stop_or_held(ended, *key)
            if stop is None:
                run = await self._held_until(ended, *key)
                if run is None or run.status not in STOPPED:
                    return
                nobody_waits = run.reason is Reason.THREAD_DELETED
                yield pb.WatchLeaseResponse(stop=wire.stop(run, 0 if nobody_waits else run.assistant.stop_grace))
            else:
                yield pb.WatchLeaseResponse(stop=stop)
        await self._drained(*key)

    async def _stop_or_held(self, ended: Ended, run_id: str, epoch: int) -> pb.Stop | None:
        """The stop that a lease was told already; None for one that is held, or was until just now."""
        if self._renewal_in(run_id, epoch) > 0:
            return None
        try:
            decision = await self._beat(run_id, epoch)
        except LeaseLost:
            if ended.done():
                return None
            raise
        stopping = _drain(decision, run_id, epoch)
        return None if stopping is None else self._stop(decision, stopping)

    async def _held_until(self, ended: Ended, run_id: str, epoch: int) -> Run | None:
        """Keep the lease alive; return the run as it is once the lease is over, None if that was missed."""
        while True:
            await asyncio.wait([ended], timeout=self._renewal_in(run_id, epoch))
            if ended.done():
                return ended.result()
            try:
                await self._beat(run_id, epoch)
            except LeaseLost:
                return ended.result() if ended.done() else None

    def _renewal_in(self, run_id: str, epoch: int) -> float:
        """Seconds until a third of the lease is over; 0 when it is, and for a lease that nothing is known of."""
        run = self._held.get(run_id)
        if run is None or run.lease_expires is None or run.epoch != epoch:
            return 0
        left = run.lease_expires - self._clock() - self._lease * 2 // 3
        return min(max(left, 0), self._lease / 3) / wire.SECOND

    async def _drained(self, run_id: str, epoch: int) -> None:
        """Keep what is left of a stopped attempt's lease alive until it has acknowledged, or its grace is over."""
        thread_id = await self._store.thread_of(run_id)
        if thread_id is None:
            return
        with self._hub.stopping(thread_id, run_id) as idle:
            while not idle.done():
                try:
                    await self._beat(run_id, epoch)
                except LeaseLost:
                    return
                await asyncio.wait([idle], timeout=self._lease / wire.SECOND / 3)

    async def FinishRun(self, request: pb.FinishRunRequest, context: Context) -> pb.FinishRunResponse:
        fields = Fields()
        run_id, epoch = _lease(fields, request)
        outcome = request.WhichOneof("outcome")
        if outcome is None:
            fields.wrong("outcome", "is required: success or error")
        success = request.success
        update = fields.json("success.update", success.update) if success.HasField("update") else None
        fields.check()
        thread_id = await self._thread_of(run_id, epoch)
        key = (thread_id, run_id, epoch)
        decision = await self._store.change(
            commands.SucceedRun(*key, update, wire.digest("success", update), by_worker=True)
            if outcome == "success"
            else commands.FailRun(
                *key,
                request.error.type,
                request.error.message,
                wire.digest("error", request.error.type, request.error.message),
                by_worker=True,
            )
        )
        assert isinstance(decision.run, Run)
        found = await self._store.run(run_id)
        record = found if isinstance(found, RunRecord) else RunRecord(decision.run, None, None)
        return pb.FinishRunResponse(run=wire.run(replace(record, run=decision.run)))

    async def ReleaseRun(self, request: pb.ReleaseRunRequest, context: Context) -> pb.ReleaseRunResponse:
        fields = Fields()
        run_id, epoch = _lease(fields, request)
        fields.check()
        thread_id = await self._thread_of(run_id, epoch)
        await self._store.change(commands.ReleaseRun(thread_id, run_id, epoch, by_worker=True))
        return pb.ReleaseRunResponse()

    async def _beat(self, run_id: str, epoch: int) -> Decision:
        thread_id = await self._thread_of(run_id, epoch)
        return await self._store.change(commands.Heartbeat(thread_id, run_id, epoch, self._lease, by_worker=True))

    def _stop(self, decision: Decision, stopping: StoppingAttempt) -> pb.Stop:
        return wire.stop(decision.run, stopping.grace_until - self._clock())

    async def _thread_of(self, run_id: str, epoch: int) -> str:
        if (run := self._held.get(run_id)) is not None:
            return run.thread_id
        thread_id = await self._store.thread_of(run_id)
        if thread_id is None:
            raise LeaseLost(run_id=run_id, epoch=epoch, current_epoch=0, cause=LeaseCause.DELETED)
        return thread_id

    async def close(self) -> None:
        """Finish taking back."""
        await asyncio.gather(*self._returns)


def _lease(fields: Fields, request: Any) -> tuple[str, int]:
    """The run's id and the epoch that the request presents."""
    if not request.HasField("lease"):
        fields.wrong("lease", "is required: the one that ClaimRun gave")
        return "", 0
    if request.lease.epoch < 1:
        fields.wrong("lease.epoch", f"is {request.lease.epoch}; epochs are 1, 2, 3 …")
    return fields.id("lease.run_id", request.lease.run_id), request.lease.epoch


def _drain(decision: Decision, run_id: str, epoch: int) -> StoppingAttempt | None:
    """The wait for this attempt's last word, if it was stopped."""
    stopping = decision.thread.stopping if decision.thread else None
    return stopping if stopping is not None and (stopping.run_id, stopping.epoch) == (run_id, epoch) else None
