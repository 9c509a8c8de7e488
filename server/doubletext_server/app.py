"""The composition root: puts store, dispatcher, executor and services together, starts them and stops them in order."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from doubletext.graph import Graph
from doubletext.v1 import assistant_service_pb2, run_service_pb2, thread_service_pb2, worker_service_pb2
from doubletext.v1.assistant_service_pb2_grpc import add_AssistantServiceServicer_to_server
from doubletext.v1.run_service_pb2_grpc import add_RunServiceServicer_to_server
from doubletext.v1.thread_service_pb2_grpc import add_ThreadServiceServicer_to_server
from doubletext.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from doubletext_server.address import CannotListen, host_and_port, taken
from doubletext_server.clock import Clock, system_clock
from doubletext_server.engine.dispatcher import RETRY_SECONDS, Dispatcher
from doubletext_server.engine.eventlog import EventLog
from doubletext_server.engine.executor import Executor
from doubletext_server.engine.retention import Keep, Retention
from doubletext_server.engine.waiting import Hub
from doubletext_server.grpc.accepting import Server
from doubletext_server.grpc.edge import Edge, Limits
from doubletext_server.grpc.reflection import add_reflection
from doubletext_server.grpc.services.assistants import AssistantService
from doubletext_server.grpc.services.runs import RunService
from doubletext_server.grpc.services.threads import ThreadService
from doubletext_server.grpc.services.workers import WorkerService
from doubletext_server.ops.metrics import Metrics
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_server.usecases.assistants import Assistants
from doubletext_server.usecases.runs import Runs
from doubletext_server.usecases.threads import Threads
from doubletext_server.usecases.workers import Workers
from doubletext_statemachine.commands import Recover
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS, Assistant
from doubletext_statemachine.words import Strategy

if TYPE_CHECKING:
    import grpc

SERVICES: Final = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (assistant_service_pb2, "AssistantService"),
        (thread_service_pb2, "ThreadService"),
        (run_service_pb2, "RunService"),
        (worker_service_pb2, "WorkerService"),
    )
)

# Ours is the edge's limit, which answers with a reason; the transport's only bounds what is read for that.
TRANSPORT_LIMIT: Final = 32 * 1024 * 1024
PENDING_CALLS: Final = 1_000_000
DEFAULT_LEASE: Final = 15_000_000
GRAPHS_STOP_SECONDS: Final = 5.0
CALLS_STOP_SECONDS: Final = 1.0

log = structlog.get_logger("server")


@dataclass(frozen=True)
class Config:
    """listen  HOST:PORT, port 0 picks a free one
    db      path of the database file
    graphs  what the server itself runs, by name
    max_queued_runs  of threads that have no limit of their own
    lease   microseconds that a worker's lease lasts unless it is renewed
    keep    what is trimmed, and when
    limits  how many calls there may be at once
    metrics HOST:PORT where Prometheus may ask, port 0 picks a free one; None for nowhere
    """

    listen: str
    db: str
    graphs: Mapping[str, Graph]
    default_strategy: Strategy = Strategy.ENQUEUE
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    lease: int = DEFAULT_LEASE
    keep: Keep = field(default_factory=Keep)
    limits: Limits = field(default_factory=Limits)
    clock: Clock = system_clock
    metrics: str | None = None


class App:
    """A running server: `await App.start(config)`, `await app.stop()`. `address` is where it listens, `metrics_address`
    where Prometheus may ask, if it may."""

    address: str
    metrics_address: str | None = None
    _listening: asyncio.Task[None]

    def __init__(self, config: Config, store: SqliteStore) -> None:
        self.config = config
        self.store = store
        self.hub = Hub()
        self.dispatcher = Dispatcher(store, store.clock)
        self.executor = Executor(store, self.dispatcher, config.graphs)
        events = EventLog(store, self.hub)
        self.assistants = Assistants(store, store.clock)
        self.threads = Threads(store, store, events)
        self.runs = Runs(store, store, self.hub, events, config.default_strategy, config.max_queued_runs)
        self.workers = Workers(store, store, self.hub, self.dispatcher, store.clock, config.lease)
        self.retention = Retention(store, store.clock, config.keep)
        self.edge = Edge(config.limits)
        self.health = health.aio.HealthServicer()
        self.server = self._make_server()
        self.metrics = self._make_metrics() if config.metrics is not None else None
        store.on_commit = self._on_commit
        store.follow = self.executor.follow

    def _on_commit(self, thread_id: str, decision: Decision) -> None:
        # The executor first: it must know a run as its own before the next claim of the thread can be offered.
        self.executor.on_commit(thread_id, decision)
        self.dispatcher.on_commit(thread_id, decision)
        self.workers.on_commit(decision)
        self.hub.on_commit(thread_id, decision)
        self.retention.on_commit(thread_id, decision)
        if self.metrics is not None:
            self.metrics.on_commit(thread_id, decision)

    @classmethod
    async def start(cls, config: Config) -> "App":
        """Listen, recover, open. Calls that come before the end of recovery are answered NOT_READY.

        Raises CannotListen, and schema.CannotOpen for a database that cannot be used.
        """
        async with AsyncExitStack() as undo:
            store = await SqliteStore.open(config.db, config.clock)
            undo.push_async_callback(store.close)
            app = cls(config, store)
            undo.push_async_callback(app.server.stop, None)
            await app._listen()
            if app.metrics is not None:
                undo.push_async_callback(app.metrics.close)
                await app._open_metrics(app.metrics)
            await app._add_own_assistants()
            await app._recover()
            undo.pop_all()
        app.executor.start()
        app.retention.start()
        app._listening = asyncio.create_task(app._keep_listening())
        app.edge.closed = None
        await app._set_health(health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", address=app.address, db=config.db, graphs=sorted(config.graphs))
        return app

    def _make_server(self) -> Server:
        options: list[tuple[str, Any]] = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", TRANSPORT_LIMIT),
            ("grpc.max_send_message_length", -1),
            # Of calls that wait to be taken from the transport, gRPC cancels some beyond 1000, at random and silently.
            # How many there may be is ours to say, with a reason: docs/decisions/0026.
            ("grpc.server.max_pending_requests", PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
            # An open WatchLease keeps its lease alive as long as its worker answers pings, which one that is stopped or
            # cut off doesn't: its connection is closed before half a lease has passed.
            ("grpc.keepalive_time_ms", self.config.lease // 4000),
            ("grpc.http2.ping_timeout_ms", self.config.lease // 4000),
        ]
        server = Server(options)
        entrance = self.edge.before(cast("grpc.aio.Server", server))
        add_RunServiceServicer_to_server(RunService(self.runs), entrance)
        add_WorkerServiceServicer_to_server(WorkerService(self.workers), entrance)
        add_ThreadServiceServicer_to_server(ThreadService(self.threads), entrance)
        add_AssistantServiceServicer_to_server(AssistantService(self.assistants), entrance)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        add_reflection(cast("grpc.aio.Server", server), (*SERVICES, health.SERVICE_NAME))
        return server

    async def _listen(self) -> None:
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        host, _ = host_and_port(self.config.listen)
        self.address = f"{host}:{await self._bind(self.config.listen)}"

    async def _bind(self, listen: str) -> int:
        try:
            bound = self.server.add_insecure_port(listen)
        except RuntimeError:
            bound = 0
        if not bound:
            raise taken(listen, "--listen")
        await self.server.start()
        return bound

    async def _keep_listening(self) -> None:
        """Listen anew should accepting ever end of itself.

        Calls that were under way are cut off, as by a restart; what was asked of the store goes on.
        """
        while True:
            error = await asyncio.shield(self.server.failed)
            log.error("gRPC's server failed; listening anew", error=repr(error))
            await self.server.stop(None)
            await self._listen_anew()

    async def _listen_anew(self) -> None:
        """On the same port, as soon as it can be had: others may have taken it meanwhile."""
        while True:
            self.server = self._make_server()
            try:
                await self._bind(self.address)
                return
            except CannotListen as error:
                log.error("cannot listen; trying again", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _make_metrics(self) -> Metrics:
        waiting: dict[str, Callable[[], int]] = {
            "joiners": lambda: self.hub.joiners,
            "watchers": lambda: self.hub.event_readers,
            "claimers": lambda: self.dispatcher.claimers,
        }
        metrics = Metrics(waiting)
        self.store.writer.observe = metrics.committed
        self.edge.on_failure = metrics.refused
        return metrics

    async def _open_metrics(self, metrics: Metrics) -> None:
        """Before recovery: its decisions are counted too."""
        assert self.config.metrics is not None
        metrics.starts_with(await self.store.in_flight())
        self.metrics_address = await metrics.listen(self.config.metrics)
        log.info("metrics", address=self.metrics_address)

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus.ValueType") -> None:
        for service in ("", *SERVICES):
            await self.health.set(service, status)

    async def _add_own_assistants(self) -> None:
        """Each graph is an assistant of its name, unless a client has given that id to another."""
        for name in self.config.graphs:
            if self.store.assistant(name) is None:
                await self.store.add_assistant(Assistant(0, name, name, self.store.clock()))

    async def _recover(self) -> None:
        """Hand back what an earlier process had in execution itself, and set every thread's timer, leases included."""
        threads = await self.store.unsettled()
        await asyncio.gather(*(self.store.change(Recover(thread_id)) for thread_id in threads))
        if threads:
            log.info("recovered", threads=len(threads))

    async def stop(self) -> bool:
        """Drain: admit and claim nothing more, send those who wait home, hand back what runs, close the file.

        Returns whether graphs are left that did not stop.
        """
        log.info("draining")
        self._listening.cancel()
        self.edge.closed = "stopping"
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.hub.close()
        await self.dispatcher.close()
        left_behind = await self.executor.drain(GRAPHS_STOP_SECONDS)
        await self.server.stop(CALLS_STOP_SECONDS)
        await self.workers.close()
        await self.retention.close()
        await self.store.close()
        if self.metrics is not None:
            await self.metrics.close()
        log.info("stopped")
        return left_behind
