"""The composition root: it constructs the parts of the server, and starts and stops them in order."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, cast

import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from doubletext.samples import BUILT_IN
from doubletext.v1 import assistant_service_pb2, run_service_pb2, thread_service_pb2, worker_service_pb2
from doubletext.v1.assistant_service_pb2_grpc import add_AssistantServiceServicer_to_server
from doubletext.v1.run_service_pb2_grpc import add_RunServiceServicer_to_server
from doubletext.v1.thread_service_pb2_grpc import add_ThreadServiceServicer_to_server
from doubletext.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from doubletext.watchdog import Watchdog
from doubletext_server.address import CannotListen, host_and_port, taken
from doubletext_server.config import Config
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.dispatcher import RETRY_SECONDS, Dispatcher
from doubletext_server.engine.eventlog import EventLog
from doubletext_server.engine.executor import Executor
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.engine.live import LiveOutputs
from doubletext_server.engine.retention import Retention
from doubletext_server.engine.suspects import Suspects, judge
from doubletext_server.engine.tidying import Tidying
from doubletext_server.engine.waiting import Hub
from doubletext_server.grpc.accepting import Server
from doubletext_server.grpc.edge import Edge
from doubletext_server.grpc.reflection import add_reflection
from doubletext_server.grpc.services.assistants import AssistantService
from doubletext_server.grpc.services.runs import RunService
from doubletext_server.grpc.services.threads import ThreadService
from doubletext_server.grpc.services.workers import WorkerService
from doubletext_server.grpc.transport import transport_options
from doubletext_server.ops.metrics import Metrics
from doubletext_server.store.opening import open_store
from doubletext_server.store.protocol import Store
from doubletext_server.usecases.assistants import Assistants
from doubletext_server.usecases.editing import Editing
from doubletext_server.usecases.runs import Runs
from doubletext_server.usecases.threads import Threads
from doubletext_server.usecases.workers import Workers
from doubletext_statemachine.commands import Recover
from doubletext_statemachine.model import Assistant

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

BUILT_IN_RUN_TIMEOUT_US: Final = 600_000_000
"""Of `agent` and `echo`: whoever reaches the port may create their runs, and each takes a slot while it lasts."""
GRAPHS_STOP_SECONDS: Final = 5.0
CALLS_STOP_SECONDS: Final = 1.0

log = structlog.get_logger("server")


class App:
    """A running server: `await App.start(config)`, `await app.stop()`.

    address          where the server listens
    metrics_address  where Prometheus may ask; None without metrics
    """

    address: str
    metrics_address: str | None = None
    _listening: asyncio.Task[None]

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.store = store
        self.hub = Hub()
        self.suspects = Suspects()
        held = HeldLeases()
        self.dispatcher = Dispatcher(store.clock, self.suspects, held, config.graphs)
        self.executor = Executor(store, self.dispatcher, self.suspects, config.graphs)
        self.retention = Retention(store, store.clock, config.keep)
        self.tidying = Tidying(store)
        self.metrics = self._make_metrics() if config.metrics is not None else None
        listeners = [
            self.suspects.on_commit,
            # The executor comes before the dispatcher, which can offer the thread's next claim: it must know its run.
            self.executor.on_commit,
            self.dispatcher.on_commit,
            held.on_commit,
            self.hub.on_commit,
            self.retention.on_commit,
            self.tidying.on_commit,
            *([self.metrics.on_commit] if self.metrics is not None else []),
        ]
        self.changes = Changes(store, listeners, self.executor.follow_up)
        self.dispatcher.start(self.changes)
        events = EventLog(store, self.hub)
        self.assistants = Assistants(store, store.clock)
        self.live = LiveOutputs(store, self.changes, held, store.clock)
        self.changes.listeners.append(self.live.on_commit)
        self.threads = Threads(store, self.changes, events, self.live)
        self.runs = Runs(
            store,
            self.changes,
            self.hub,
            events,
            self.live,
            self.dispatcher.serves,
            config.default_strategy,
            config.max_queued_runs,
        )
        self.editing = Editing(store, self.changes, self.runs)
        self.workers = Workers(
            store, self.changes, self.hub, self.dispatcher, held, self.live, store.clock, config.lease_us
        )
        self.edge = Edge(config.limits, self.metrics.refused if self.metrics is not None else None)
        self._watchdog = Watchdog()
        self.health = health.aio.HealthServicer()
        self.server = self._make_server()

    @classmethod
    async def start(cls, config: Config) -> "App":
        """Start to listen, recover, and accept calls. Calls that come before the end of recovery answer NOT_READY.

        Raises CannotListen, and CannotOpen for a database that cannot be used.
        """
        async with AsyncExitStack() as undo:
            store = await open_store(config.db, config.clock, config.db_mode)
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
        app.executor.start(app.changes, app.live)
        app.retention.start(app.changes)
        app.tidying.start()
        app._watchdog.start()
        app._listening = asyncio.create_task(app._keep_listening())
        app.edge.closed = None
        await app._set_health(health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", address=app.address, db=config.db, graphs=sorted(config.graphs))
        return app

    def _make_server(self) -> Server:
        server = Server(transport_options(self.config.limits.streams))
        entrance = self.edge.before(cast("grpc.aio.Server", server))
        add_RunServiceServicer_to_server(RunService(self.runs, self.editing), entrance)
        add_WorkerServiceServicer_to_server(WorkerService(self.workers), entrance)
        add_ThreadServiceServicer_to_server(ThreadService(self.threads), entrance)
        add_AssistantServiceServicer_to_server(AssistantService(self.assistants), entrance)
        beside = self.edge.beside(cast("grpc.aio.Server", server))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, beside)
        add_reflection(beside, (*SERVICES, health.SERVICE_NAME))
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
        metrics = Metrics(waiting, lambda: self.dispatcher.unserved)
        self.store.observe(metrics.committed)
        return metrics

    async def _open_metrics(self, metrics: Metrics) -> None:
        """Start the metrics. This comes before recovery, so that the decisions of recovery are counted."""
        assert self.config.metrics is not None
        metrics.starts_with(await self.store.in_flight())
        self.metrics_address = await metrics.listen(self.config.metrics)
        log.info("metrics", address=self.metrics_address)

    async def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus.ValueType") -> None:
        for service in ("", *SERVICES):
            await self.health.set(service, status)

    async def _add_own_assistants(self) -> None:
        """Create an assistant for each graph, with the graph's name as its id, unless there is one of that id."""
        for name, graph in self.config.graphs.items():
            if self.store.assistant(name) is None:
                limit = BUILT_IN_RUN_TIMEOUT_US if BUILT_IN.get(name) is graph else None
                await self.store.add_assistant(Assistant(0, name, name, self.store.clock(), run_timeout=limit))

    async def _recover(self) -> None:
        """Hand back the runs that an earlier process executed itself, and set the timers of all threads."""
        running = await self.store.running()
        for run in running:
            self.suspects.started(run)
        own = {run.run_id: run.thread_id for run in running if run.worker_id is None}
        spared = await self._spared(own) if own else {}
        threads = await self.store.unsettled()
        await asyncio.gather(*(self.changes.change(Recover(id, spared.get(id))) for id in threads))
        if threads:
            log.info("recovered", threads=len(threads))

    async def _spared(self, own: Mapping[str, str]) -> dict[str, str]:
        """Find out which run killed the server's process before. Returns the runs that are not charged, by thread.

        own: the runs that it executed then, with their threads
        """
        verdict = judge(own, await self.store.suspects())
        await self.store.suspect(verdict.suspects)
        self.suspects.suspect(verdict.suspects, verdict.at_once)
        facts = {"runs": len(own), "suspects": len(verdict.suspects), "charged": verdict.charged}
        log.warning("the server's process ended with runs in execution", **facts)
        return {thread_id: run_id for run_id, thread_id in own.items() if run_id != verdict.charged}

    async def stop(self) -> bool:
        """Shut down: refuse new calls, end the waiting calls, hand back the runs that execute here, close the file.

        Returns whether graphs are left that did not stop.
        """
        log.info("draining")
        self._listening.cancel()
        self._watchdog.stop()
        self.edge.closed = "stopping"
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.hub.close()
        await self.dispatcher.close()
        left_behind = await self.executor.drain(GRAPHS_STOP_SECONDS)
        await self.server.stop(CALLS_STOP_SECONDS)
        await self.workers.close()
        await self.live.close()
        await self.retention.close()
        await self.tidying.close()
        await self.store.close()
        if self.metrics is not None:
            await self.metrics.close()
        log.info("stopped")
        return left_behind
