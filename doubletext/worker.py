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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import structlog

from doubletext import convert
from doubletext.calls import call, open_channel
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
from doubletext.graph import Context, Graph, describe
from doubletext.structs import from_struct, update_struct
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.assistant_service_pb2 import CreateAssistantRequest
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub

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
        self._attempts: dict[asyncio.Task[None], Attempt] = {}

    def stop(self) -> None:
        """Let `run` drain and return."""
        self._stopping.set()

    async def run(self) -> bool:
        """Claim and execute runs until `stop` is called, then drain: claim no more, let runs finish for `drain`
        seconds, hand the others back. Returns whether graphs are left that do not stop.

        Waits, with growing pauses, for a server that is not there. Raises DoubletextError for what waiting can't cure.
        """
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
            claimed = await _insisting(stub.ClaimRun, request, CLAIM_SECONDS + CALL_SECONDS)
            if not claimed.HasField("assignment"):
                free.release()
                continue
            attempt = Attempt(stub, claimed.assignment, self._graphs[claimed.assignment.assistant.graph])
            task = asyncio.create_task(attempt.run())
            self._attempts[task] = attempt
            task.add_done_callback(self._ended)
            task.add_done_callback(lambda _: free.release())

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
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

    async def _drain(self) -> bool:
        if not self._attempts:
            return False
        log.info("draining", runs=len(self._attempts))
        await asyncio.wait(list(self._attempts), timeout=self._drain_seconds)
        await asyncio.gather(*(attempt.hand_back() for attempt in self._attempts.values()))
        if not self._attempts:
            return False
        _, left = await asyncio.wait(list(self._attempts), timeout=OBEY_SECONDS)
        if left:
            log.warning("graphs do not stop; they are left behind", graphs=len(left))
        return bool(left)


class Attempt:
    """One claimed run, until it is finished, handed back, or no longer ours."""

    def __init__(self, stub: "WorkerServiceAsyncStub", assignment: pb.Assignment, graph: Graph) -> None:
        self._stub = stub
        self._lease = assignment.lease
        self._run = assignment.run
        self._assignment = assignment
        self._graph = graph
        self._next_step = assignment.run.last_step + 1
        self._over = False
        self._executing: asyncio.Task[pb.FinishRunRequest] | None = None
        self._log = log.bind(run_id=self._run.run_id, thread_id=self._run.thread_id, epoch=self._lease.epoch)

    async def run(self) -> None:
        self._log.info("started", graph=self._graph.name, attempt=self._run.attempt)
        self._executing = asyncio.create_task(self._execute())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([self._executing])
            if _lost(self._executing) or self._over:
                await self._release()
            elif self._executing.cancelled():
                await self._finish(_failure("CancelledError", "the graph cancelled itself"))
            else:
                await self._finish(self._executing.result())
        except LeaseLost as lost:
            self._log.info("the run was no longer ours", cause=lost.cause)
        finally:
            watching.cancel()

    async def _execute(self) -> pb.FinishRunRequest:
        """Run the graph to its end and return the outcome. Raises LeaseLost once the run is over."""
        try:
            last = await self._graph.run(self._context(), self._commit)
            return pb.FinishRunRequest(success=pb.Success(update=None if last is None else update_struct(last)))
        except (LeaseLost, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a graph, too, ends its run and not the worker
            self._log.exception("a graph failed", graph=self._graph.name, stopped=self._over)
            return _failure(*describe(error))

    def _context(self) -> Context:
        return Context(
            run={
                "run_id": self._run.run_id,
                "thread_id": self._run.thread_id,
                "assistant_id": self._run.assistant_id,
                "sequence": self._run.sequence,
                "attempt": self._run.attempt,
                "metadata": from_struct(self._run.metadata),
            },
            input=from_struct(self._run.input),
            config=from_struct(self._assignment.assistant.config),
            load_state=lambda: from_struct(self._assignment.state.values),
            emit=self._emit,
        )

    async def _commit(self, update: Any) -> None:
        request = pb.CommitStepRequest(lease=self._lease, update=update_struct(update), expected_step=self._next_step)
        await _insisting(self._stub.CommitStep, request)
        self._next_step += 1

    async def _emit(self, channel: str, data: dict[str, Any]) -> None:
        output = resources.Output(channel=channel, data=update_struct(data))
        request = pb.PublishOutputRequest(lease=self._lease, outputs=[output])
        await _insisting(self._stub.PublishOutput, request)

    async def _finish(self, request: pb.FinishRunRequest) -> None:
        request.lease.CopyFrom(self._lease)
        try:
            finished = await _insisting(self._stub.FinishRun, request)
        except (InvalidField, TooLarge) as refused:  # what the graph returned; a step is refused where it is yielded
            self._log.warning("what a graph returned was refused", graph=self._graph.name, error=str(refused))
            await self._finish(_failure(*describe(refused)))
        else:
            self._log.info("finished", status=convert.RUN_STATUS.name(finished.run.status))

    async def _release(self) -> None:
        """Acknowledge a stop, or hand the run back."""
        request = pb.ReleaseRunRequest(lease=self._lease)
        await _insisting(self._stub.ReleaseRun, request)

    async def hand_back(self) -> None:
        """Give up the run, so that another worker goes on with it, whatever the graph does."""
        self._end("handed back")
        try:
            await asyncio.wait_for(self._release(), OBEY_SECONDS)
        except (DoubletextError, TimeoutError) as error:
            self._log.info("the run was not handed back", error=str(error))

    def _end(self, why: str, **facts: object) -> None:
        if self._executing is not None and self._executing.done():
            return
        self._over = True
        self._log.info(why, **facts)
        if self._executing is not None:
            self._executing.cancel()

    async def _watch(self) -> None:
        """Keep the lease alive, and end the graph when it is over."""
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            opened = clock()
            try:
                async for response in self._stub.WatchLease(pb.WatchLeaseRequest(lease=self._lease)):
                    stop = response.stop
                    return self._end("stopped", reason=stop.reason, superseded_by=stop.superseded_by)
                return self._end("the lease is over")
            except grpc.aio.AioRpcError as raised:
                error = from_rpc_error(raised)
                if isinstance(error, LeaseLost):
                    return self._end("the lease is lost", cause=error.cause)
                self._log.warning("the lease is watched again in a moment", error=str(error))
            pause = FIRST_PAUSE if clock() - opened > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)


def _failure(type_: str, message: str) -> pb.FinishRunRequest:
    return pb.FinishRunRequest(error=resources.RunError(type=type_, message=message))


def _lost(task: "asyncio.Task[Any]") -> bool:
    return not task.cancelled() and isinstance(task.exception(), LeaseLost)


async def _insisting(
    method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, timeout: float = CALL_SECONDS
) -> Resp:
    """Call until the server answers, with growing pauses. For calls that are safe to repeat."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await call(method, request, timeout)
        except (Unavailable, DeadlineExceeded) as error:
            what = type(request).__name__.removesuffix("Request")
            log.warning("a call will be tried again", call=what, seconds=pause, error=str(error))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _name() -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:80] or "host"
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
