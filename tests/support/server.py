"""A real server in the test's process: gRPC on a free port, an SQLite file, and graphs that a test holds back."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import grpc

from doubletext import AssistantExists, Client, Context, Graph, Worker, graph
from doubletext.samples import BUILT_IN
from doubletext.types import CreatedRun
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub
from doubletext.v1.run_service_pb2_grpc import RunServiceStub
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub
from doubletext_server.app import App
from doubletext_server.clock import system_clock
from doubletext_server.config import Config
from doubletext_server.store.protocol import EventRecord
from doubletext_server.store.sqlite.store import SqliteStore
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Output, RunChanged, StepCommitted
from doubletext_statemachine.words import RunStatus
from tests.support.database_files import make_new

OPTIONS: Final = (
    *("delay", "timeout", "request_id", "expected_run_id"),
    *("queue_policy", "debounce", "max_wait", "start_within"),
)


class Gate(asyncio.Event):
    """What graph code waits for. `reached` is set once it does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()


gates: defaultdict[str, Gate] = defaultdict(Gate)
"""What graphs wait for, by the name in their input; cleared for each test."""


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@graph
async def scripted(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Makes `steps` steps (1 unless given), each a message of its input's text and its number.

    after: {step: gate} waits for the gate once that step is committed (0: before the first).
    stubborn: swallows its cancellation while it waits at a gate, and goes on.
    """
    given, text = ctx.input, ctx.input["messages"][-1]["content"]
    for number in range(given.get("steps", 1) + 1):
        if number:
            yield {"messages": [{"role": "assistant", "content": f"{text} {number}"}]}
        gate = given.get("after", {}).get(str(number))
        while gate and not gates[gate].is_set():
            try:
                await gates[gate].wait()
            except asyncio.CancelledError:
                if not given.get("stubborn"):
                    raise


@graph
async def failing(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    yield {"messages": [{"role": "assistant", "content": "so far"}]}
    raise LookupError("no such weather")


TEST_GRAPHS = (scripted, failing)


@dataclass
class Service:
    """The server, a client of it, and the raw stubs."""

    app: App
    client: Client
    channel: grpc.aio.Channel
    worker: Worker | None = None

    @property
    def runs(self) -> Any:
        return RunServiceStub(self.channel)

    @property
    def threads(self) -> Any:
        return ThreadServiceStub(self.channel)

    @property
    def assistants(self) -> Any:
        return AssistantServiceStub(self.channel)

    @property
    def sqlite(self) -> SqliteStore:
        """The server's store, for tests that look into it."""
        assert isinstance(self.app.store, SqliteStore)
        return self.app.store

    async def thread(self) -> str:
        return (await self.client.threads.create())["thread_id"]

    async def say(self, thread_id: str, text: str, multitask_strategy: Any = None, **more: Any) -> CreatedRun:
        """Create a run of `scripted`; what it is not to say goes into its input: steps, after, stubborn."""
        names = (
            "delay",
            "timeout",
            "request_id",
            "queue_policy",
            "debounce",
            "max_wait",
            "start_within",
            "expected_run_id",
        )
        options = {key: more.pop(key) for key in names if key in more}
        return await self.client.runs.create(
            thread_id,
            more.pop("assistant", "scripted"),
            input={**said(text), **more},
            multitask_strategy=multitask_strategy,
            **options,
        )

    @contextmanager
    def commit(self, holds: Callable[[Decision], bool]) -> Iterator[asyncio.Future[None]]:
        """A future that is done with the first commit from now on of which `holds`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_commit(thread_id: str, decision: Decision) -> None:
            if not future.done() and holds(decision):
                future.set_result(None)

        self.app.changes.listeners.append(on_commit)
        yield future
        self.app.changes.listeners.remove(on_commit)

    async def started(self, thread_id: str, text: str, *, steps_made: int = 0, **more: Any) -> CreatedRun:
        """A run that is running, and held once it has made so many steps of its own."""
        more = {"after": {str(steps_made): f"never {text}"}, "steps": steps_made + 1, **more}

        def made(decision: Decision) -> bool:
            run = decision.moved[0] if decision.moved else None
            return (
                run is not None
                and run.thread_id == thread_id
                and run.status is RunStatus.RUNNING
                and (run.last_step - (run.base_step or 0) == steps_made + 1)
            )

        with self.commit(made) as held:
            run = await self.say(thread_id, text, **more)
            await held
        if gate := more["after"].get(str(steps_made)):
            await gates[gate].reached.wait()
        return run

    async def contents(self, thread_id: str) -> list[str]:
        """What the messages of the thread's state say."""
        state = await self.client.threads.get_state(thread_id)
        return [message["content"] for message in state["values"].get("messages", [])]

    async def statuses(self, thread_id: str) -> list[str]:
        """The statuses of the thread's runs, in order of their sequence."""
        return [run["status"] async for run in self.client.runs.list(thread_id, oldest_first=True)]

    async def events(self, thread_id: str) -> list[EventRecord]:
        return await self.app.store.events(thread_id, 0, 1_000_000)


def told(event: EventRecord, names: dict[str, str]) -> str:
    """An event in a few words; `names` of the runs by id."""
    run, kind = names.get(event.event.run_id or "", "-"), event.event.kind
    if isinstance(kind, RunChanged):
        return f"{run} {kind.after.value}"
    if isinstance(kind, StepCommitted):
        return f"{run} step {kind.step}"
    return f"{run} output" if isinstance(kind, Output) else f"{run} {kind}"


@asynccontextmanager
async def serving(
    db: Path,
    graphs: tuple[Graph, ...] = TEST_GRAPHS,
    clock: Callable[[], int] = system_clock,
    *,
    by_worker: bool = False,
    lease: float = 15,
    **settings: Any,
) -> AsyncIterator[Service]:
    """Start a server on the file; stop it the orderly way at the end.

    by_worker  the graphs are executed by a worker that claims over gRPC, and not by the server
    lease      seconds
    settings   further ones of Config
    """
    gates.clear()
    make_new(db)
    known = {**BUILT_IN, **{each.name: each for each in graphs}}
    settings = {"clock": clock, "lease_us": int(lease * 1_000_000), **settings}
    config = Config("127.0.0.1:0", str(db), {} if by_worker else known, **settings)
    app = await App.start(config)
    try:
        async with Client(app.address) as client, grpc.aio.insecure_channel(app.address) as channel:
            if not by_worker:
                yield Service(app, client, channel)
                return
            async with working(app.address, tuple(known.values())) as worker:
                yield Service(app, client, channel, worker)
    finally:
        _open_gates()
        await app.stop()


@asynccontextmanager
async def working(address: str, graphs: tuple[Graph, ...], slots: int = 100) -> AsyncIterator[Worker]:
    """A worker on the address, in the test's process; it has made the graphs' assistants."""
    worker = Worker(address, graphs=graphs, slots=slots)
    async with Client(address) as client:
        for graph in graphs:
            with suppress(AssistantExists):
                await client.assistants.create(graph.name, assistant_id=graph.name)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        _open_gates()
        worker.stop()
        await task


def _open_gates() -> None:
    for gate in gates.values():
        gate.set()
