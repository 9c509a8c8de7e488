"""A worker: executes runs of its graphs for a server, under leases.

    worker = Worker("127.0.0.1:50051", graphs=[support], slots=10)
    await worker.run()

It claims a run, keeps the lease alive with an open WatchLease, commits each update of the graph as a step, and finishes
the run. A stop cancels the graph's task. docs/workers.md has the protocol, for workers in other languages.
"""

import asyncio
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
import structlog

from doubletext import convert
from doubletext.calls import call_once, open_channel, open_threads_channel
from doubletext.claiming import Attempt, Failed, Outcome, Over, Start
from doubletext.errors import (
    AssistantExists,
    DeadlineExceeded,
    DoubletextError,
    InvalidField,
    LeaseLost,
    TooLarge,
    Unavailable,
    from_rpc_error,
)
from doubletext.graph import Graph, Json
from doubletext.jsontext import Text
from doubletext.outputs import Shown
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.assistant_service_pb2 import CreateAssistantRequest
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from doubletext.watchdog import Watchdog

if TYPE_CHECKING:
    from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceAsyncStub
    from doubletext.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub

Req = TypeVar("Req")
Resp = TypeVar("Resp")

CLAIM_SECONDS: Final = 30
CLAIMS: Final = 8
"""Claims under way at once, so that others are claimed while one is on its way: docs/decisions/0021."""
CALL_SECONDS: Final = 10.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
OBEY_SECONDS: Final = 1.0
BEAT_TIMEOUT: Final = 2.0

ONE_ANSWERS: Final = frozenset(
    {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
)
"""Codes of failures that may be about one answer alone: one that is too large, or cannot be read."""

log = structlog.get_logger("worker")


class Worker:
    """Executes runs of `graphs`, up to `slots` at once.

    address      HOST:PORT, or any other gRPC target
    drain        seconds that runs have to finish in once `stop` was called; the others are handed back
    worker_id    names this worker in the server's log; made of host and process unless given
    credentials  of a TLS channel; without them the channel is neither encrypted nor authenticated
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        graphs: Sequence[Graph],
        slots: int = 10,
        drain: float = 5.0,
        worker_id: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        if not graphs or slots < 1:
            raise ValueError("a worker needs at least one graph and one slot")
        self._address = address
        self._graphs = {graph.name: graph for graph in graphs}
        self._slots = slots
        self._drain_seconds = drain
        self.worker_id = worker_id or _name()
        self._credentials = credentials
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._claims: dict[asyncio.Task[None], Claim] = {}

    def stop(self) -> None:
        """Let `run` drain and return. Called once more, it lets `run` hand back at once what still runs."""
        if self._stopping.is_set():
            self._hurried.set()
        self._stopping.set()

    async def run(self) -> bool:
        """Claim and execute runs until `stop` is called, then drain: claim no more, let runs finish for `drain`
        seconds, hand the others back. Returns whether graphs are left that do not stop.

        Waits, with growing pauses, for a server that is not there. Raises DoubletextError for what waiting can't cure.
        """
        keeper = LeaseKeeper(self._address, self._credentials, self._claims)
        keeper.start()
        async with open_channel(self._address, self._credentials) as channel:
            serving = asyncio.create_task(self._serve(channel))
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
            finally:
                serving.cancel()
                stopping.cancel()
                await asyncio.wait([serving, stopping])
                left = await self._drain()
                keeper.stop()
            return left

    async def _serve(self, channel: grpc.aio.Channel) -> None:
        stub: WorkerServiceAsyncStub = WorkerServiceStub(channel)
        await self._introduce(channel)
        log.info("claiming", worker_id=self.worker_id, server=self._address, graphs=sorted(self._graphs))
        free = asyncio.Semaphore(self._slots)
        claimers = [asyncio.create_task(self._claim(stub, free)) for _ in range(min(self._slots, CLAIMS))]
        try:
            await asyncio.gather(*claimers)
        finally:
            for claimer in claimers:
                claimer.cancel()
            await asyncio.wait(claimers)

    async def _claim(self, stub: "WorkerServiceAsyncStub", free: asyncio.Semaphore) -> None:
        """Claim one run after the other, while there is a slot for it."""
        request = pb.ClaimRunRequest(
            worker_id=self.worker_id, graphs=self._graphs, wait=convert.duration(CLAIM_SECONDS)
        )
        while True:
            await free.acquire()
            claimed = await self._claimed(stub, request)
            if claimed is None or not claimed.HasField("assignment"):
                free.release()
                continue
            claim = Claim(stub, claimed.assignment, self._graphs[claimed.assignment.assistant.graph])
            task = asyncio.create_task(claim.run())
            self._claims[task] = claim
            task.add_done_callback(self._ended)
            task.add_done_callback(lambda _: free.release())

    async def _claimed(self, stub: "WorkerServiceAsyncStub", request: pb.ClaimRunRequest) -> pb.ClaimRunResponse | None:
        """Return the answer; None, after a pause, for one that this worker cannot take. The next may be another."""
        try:
            return await _insisting(stub.ClaimRun, request, CLAIM_SECONDS + CALL_SECONDS)
        except DoubletextError as error:
            if error.code not in ONE_ANSWERS:
                raise
            log.warning("a claim failed", error=str(error), seconds=LONGEST_PAUSE)
            await asyncio.sleep(LONGEST_PAUSE)
            return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._claims[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt failed", exc_info=error)

    async def _introduce(self, channel: grpc.aio.Channel) -> None:
        """Make an assistant of each graph's name, where there is none."""
        stub: AssistantServiceAsyncStub = AssistantServiceStub(channel)
        for name in self._graphs:
            request = CreateAssistantRequest(assistant_id=name, graph=name)
            try:
                await _insisting(stub.CreateAssistant, request)
            except AssistantExists:
                continue

    async def _finished_in_time(self) -> None:
        """Return once all runs are over, or no more time is given to them."""
        hurried = asyncio.create_task(self._hurried.wait())
        finished = asyncio.ensure_future(asyncio.wait(list(self._claims)))
        await asyncio.wait([hurried, finished], timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in (hurried, finished):
            each.cancel()

    async def _drain(self) -> bool:
        if not self._claims:
            return False
        log.info("draining", runs=len(self._claims))
        await self._finished_in_time()
        await asyncio.gather(*(claim.hand_back() for claim in self._claims.values()))
        if not self._claims:
            return False
        _, left = await asyncio.wait(list(self._claims), timeout=OBEY_SECONDS)
        if left:
            log.warning("graphs do not stop; they are left behind", graphs=len(left))
        return bool(left)


class LeaseKeeper:
    """Keeps the leases of all claims alive while the event loop is blocked, from a thread that no graph can stop."""

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None, claims: "Mapping[asyncio.Task[None], Claim]"
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._claims = claims
        self._channel: grpc.Channel | None = None
        self._watchdog = Watchdog(self._beat)

    def start(self) -> None:
        self._watchdog.start()

    def stop(self) -> None:
        self._watchdog.stop()
        if self._channel is not None:
            self._channel.close()

    def _beat(self) -> None:
        if self._channel is None:
            self._channel = open_threads_channel(self._address, self._credentials)
        stub = WorkerServiceStub(self._channel)
        for claim in list(self._claims.values()):
            with suppress(grpc.RpcError):  # what became of the lease is for the loop to find out
                stub.Heartbeat(pb.HeartbeatRequest(lease=claim.lease), timeout=BEAT_TIMEOUT)


class Claim:
    """A claimed run, until it is finished, handed back, or no longer ours: its attempt, and the watch of its lease."""

    def __init__(self, stub: "WorkerServiceAsyncStub", assignment: pb.Assignment, graph: Graph) -> None:
        self._lease = WorkerLease(stub, assignment)
        self._graph = graph
        self._run = assignment.run
        names = {"run_id": self._run.run_id, "thread_id": self._run.thread_id, "epoch": assignment.lease.epoch}
        self._attempt = Attempt(graph, self._lease, names)
        self._log = log.bind(**names)

    @property
    def lease(self) -> pb.Lease:
        return self._lease.lease

    async def run(self) -> None:
        self._log.info("started", graph=self._graph.name, attempt=self._run.attempt)
        watching = asyncio.create_task(self._watch())
        try:
            await self._attempt.run()
        finally:
            watching.cancel()

    async def hand_back(self) -> None:
        """Give up the run, so that another worker goes on with it, whatever the graph does."""
        if not self._attempt.executed:
            self._log.info("handed back")
            self._attempt.abandon()
        try:
            await asyncio.wait_for(self._lease.release(), OBEY_SECONDS)
        except (Over, DoubletextError, TimeoutError) as error:
            self._log.info("the run was not handed back", error=str(error))

    def _stop(self, why: str, **facts: object) -> None:
        if not self._attempt.executed:
            self._log.info(why, **facts)
            self._attempt.stop()

    async def _watch(self) -> None:
        """Keep the lease alive, and stop the attempt when it is over."""
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            opened = clock()
            try:
                async for stop in self._lease.watch():
                    return self._stop("stopped", reason=stop.reason, superseded_by=stop.superseded_by)
                return self._stop("the lease is over")
            except grpc.aio.AioRpcError as raised:
                error = from_rpc_error(raised)
                if isinstance(error, LeaseLost):
                    return self._stop("the lease is lost", cause=error.cause)
                self._log.warning("the lease is watched again in a moment", error=str(error))
            pause = FIRST_PAUSE if clock() - opened > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)


class WorkerLease:
    """The lease of a run that a server granted to this worker. Every call is safe to repeat."""

    refusals = (InvalidField, TooLarge)

    def __init__(self, stub: "WorkerServiceAsyncStub", assignment: pb.Assignment) -> None:
        self._stub = stub
        self._assignment = assignment
        self.lease = assignment.lease
        self._next_step = assignment.run.last_step + 1
        self._offered: dict[str, pb.Steer] = {}

    async def start(self) -> Start:
        run, assignment = self._assignment.run, self._assignment
        facts = {
            "run_id": run.run_id,
            "thread_id": run.thread_id,
            "assistant_id": run.assistant_id,
            "sequence": run.sequence,
            "attempt": run.attempt,
            "metadata": convert.values(run, "metadata"),
        }
        config = convert.values(assignment.assistant, "config")
        return Start(facts, convert.values(run, "input"), config, lambda: convert.values(assignment.state, "values"))

    async def commit(self, update: Text) -> None:
        request = pb.CommitStepRequest(lease=self.lease, update_json=update, expected_step=self._next_step)
        await self._step(request)

    async def absorb(self) -> list[Json]:
        if not self._offered:
            return []
        offered, self._offered = self._offered, {}
        request = pb.CommitStepRequest(lease=self.lease, absorb=offered, expected_step=self._next_step)
        return [convert.values(steer, "input") for steer in (await self._step(request)).absorbed]

    async def _step(self, request: pb.CommitStepRequest) -> pb.CommitStepResponse:
        response = await _insisting(self._stub.CommitStep, request)
        self._next_step = response.step + 1
        for steer in response.steers:
            self._offered[steer.run_id] = steer
        return response

    async def emit(self, shown: Sequence[Shown]) -> None:
        outputs = [resources.Output(channel=each.channel, data_json=each.data) for each in shown]
        await _insisting(
            self._stub.PublishOutput,
            pb.PublishOutputRequest(lease=self.lease, outputs=outputs, live_only=shown[0].live_only),
        )

    async def finish(self, outcome: Outcome) -> None:
        request = pb.FinishRunRequest(lease=self.lease)
        if isinstance(outcome, Failed):
            request.error.CopyFrom(resources.RunError(type=outcome.type, message=outcome.message))
        else:
            request.success.CopyFrom(pb.Success(update_json=outcome.update or ""))
        finished = await _insisting(self._stub.FinishRun, request)
        log.info("finished", run_id=self.lease.run_id, status=convert.RUN_STATUS.name(finished.run.status))

    async def release(self) -> None:
        await _insisting(self._stub.ReleaseRun, pb.ReleaseRunRequest(lease=self.lease))

    async def watch(self) -> AsyncIterator[pb.Stop]:
        """Keep the lease alive while this is read. Yields the stop of the attempt, if it is stopped."""
        async for response in self._stub.WatchLease(pb.WatchLeaseRequest(lease=self.lease)):
            if response.HasField("stop"):
                yield response.stop
            else:
                self._offered[response.steer.run_id] = response.steer


async def _insisting(
    method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, timeout: float = CALL_SECONDS
) -> Resp:
    """Call until the server answers, with growing pauses. For calls that are safe to repeat.

    Raises Over for LEASE_LOST.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await call_once(method, request, timeout)
        except LeaseLost as lost:
            raise Over(str(lost)) from lost
        except (Unavailable, DeadlineExceeded) as error:
            what = type(request).__name__.removesuffix("Request")
            log.warning("a call will be tried again", call=what, seconds=pause, error=str(error))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _name() -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:80] or "host"
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
