"""Runs the server's own graphs, as one more claimer: claim, commit each step, finish.

A run that becomes ready while there is a free slot is claimed in the very commit that made it ready (`follow_up`).
Others wait for their turn at the dispatcher. Either way the claim's commit starts it.

A stop cancels the graph at once (see doubletext.claiming). A graph that goes on all the same is fenced: the arbiter
refuses what it commits, and its thread waits for its end no longer than the assistant's `stop_grace`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from doubletext import jsontext
from doubletext.claiming import Attempt, Failed, Outcome, Over, Start
from doubletext.graph import Graph
from doubletext.outputs import Shown
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.dispatcher import RETRY_SECONDS, Dispatcher
from doubletext_server.engine.live import LiveOutputs
from doubletext_server.engine.suspects import Suspects
from doubletext_server.store.protocol import Store
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost, NotReady, Refusal
from doubletext_statemachine.model import Json, Output, Run, Tombstone
from doubletext_statemachine.words import STOPPED, RunStatus

SLOTS: Final = 5000
"""Runs of one graph in execution at once; further ones wait, and keep no other graph's waiting. Those of one commit are
counted after it, and may exceed it."""

T = TypeVar("T")

log = structlog.get_logger("executor")


class Live(NamedTuple):
    """A run in execution, as it was claimed."""

    run: Run
    attempt: Attempt


class Executor:
    def __init__(self, store: Store, dispatcher: Dispatcher, suspects: Suspects, graphs: Mapping[str, Graph]) -> None:
        self._suspects = suspects
        self._store = store
        self._dispatcher = dispatcher
        self._graphs = graphs
        self._names = frozenset(graphs)
        self._live: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # claims, attempts, and what hands back
        self._claims = 0  # each may become a run of any graph
        self._executing: Counter[str] = Counter()  # by their graphs
        self._other_graphs = asyncio.Event()  # others may have a slot than when it was last asked for them
        self._serving: asyncio.Task[None] | None = None
        self._draining = False

    def start(self, changes: Changes, live: LiveOutputs) -> None:
        """Claim and execute runs from now on."""
        self._changes = changes
        self._outputs = live
        self._serving = asyncio.create_task(self._serve())

    def follow_up(self, thread_id: str, decision: Decision) -> commands.ClaimRun | None:
        """The claim of the run that a Decision makes ready, when it is to be executed here and at once."""
        ready = decision.upcoming.ready
        if ready is None or ready.assistant.graph not in self._names or ready.run_id in self._suspects.runs:
            return None
        if self._serving is None or self._draining or not self._has_slot(ready.assistant.graph):
            return None
        return commands.ClaimRun(thread_id, self._names)

    def _has_slot(self, graph: str) -> bool:
        return self._executing[graph] + self._claims < SLOTS

    async def _serve(self) -> None:
        while True:
            self._other_graphs.clear()
            free = frozenset(filter(self._has_slot, self._names))
            try:
                thread_id = await self._next(free)
            except NotReady:
                return
            if thread_id is not None:
                self._claims += 1
                self._run(self._claim(thread_id, free))

    async def _next(self, graphs: frozenset[str]) -> str | None:
        """The next thread of these graphs; None once it is others that have a slot."""
        offered = asyncio.create_task(self._dispatcher.next(graphs))
        others = asyncio.create_task(self._other_graphs.wait())
        try:
            await asyncio.wait([offered, others], return_when=asyncio.FIRST_COMPLETED)
            return offered.result() if offered.done() else None
        finally:
            offered.cancel()
            others.cancel()

    async def _claim(self, thread_id: str, graphs: frozenset[str]) -> None:
        try:
            await self._changes.change(commands.ClaimRun(thread_id, graphs))
        except Refusal as refusal:
            log.warning("a claim will be tried again", thread_id=thread_id, error=str(refusal))
            self._dispatcher.retry(thread_id)
        finally:
            self._note_full()
            self._claims -= 1

    def _ended(self, graph: str) -> None:
        self._note_full()
        self._executing[graph] -= 1

    def _note_full(self) -> None:
        """Ask for other graphs from now on, if one has no slot, or is to have one again."""
        if not all(map(self._has_slot, self._names)):
            self._other_graphs.set()

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt failed", exc_info=error)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Take note of a commit: start what it claimed, and stop what it stopped."""
        for run in decision.moved:
            live = self._live.get(run.run_id)
            if run.status is RunStatus.RUNNING and run.worker_id is not None:
                continue
            if run.status is RunStatus.RUNNING:
                if live is None or live.run.epoch != run.epoch:
                    self._begin(run)
            elif live is not None:
                del self._live[run.run_id]
                if run.status in STOPPED:
                    live.attempt.stop()
                elif run.status is RunStatus.PENDING:
                    live.attempt.abandon()

    def _begin(self, run: Run) -> None:
        if self._draining:
            self._run(self._release(run))
            return
        graph = self._graphs[run.assistant.graph]
        attempt = Attempt(graph, OwnLease(run, self._store, self._changes, self._outputs), _names(run))
        self._live[run.run_id] = Live(run, attempt)
        self._executing[graph.name] += 1
        self._note_full()
        self._run(attempt.run()).add_done_callback(lambda _: self._ended(graph.name))

    async def drain(self, seconds: float) -> bool:
        """Claim no more, hand back what runs, and wait so long for the graphs to obey. Returns whether some do not."""
        self._draining = True
        if self._serving is not None:
            self._serving.cancel()
        await self._store.settled()  # the last claims are known then
        await asyncio.gather(*(self._release(live.run) for live in self._live.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        left = len(self._tasks)
        for task in list(self._tasks):
            task.cancel()
        if left:
            log.warning("graphs do not stop; they are left behind", graphs=left)
        return bool(left)

    async def _release(self, run: Run) -> None:
        try:
            await self._outputs.keep(run.run_id)
            await self._changes.change(commands.ReleaseRun(*_key(run)))
        except Refusal as refusal:
            log.warning("a run was not handed back", run_id=run.run_id, error=str(refusal))


class OwnLease:
    """The lease of a run that the server itself executes: it lasts as long as its process."""

    refusals: tuple[type[Exception], ...] = ()

    def __init__(self, run: Run, store: Store, changes: Changes, live: LiveOutputs) -> None:
        self._run = run
        self._live = live
        self._store = store
        self._changes = changes

    async def start(self) -> Start:
        run = self._run
        record, raw = await self._store.start_of(run.thread_id, run.run_id)
        if record is None or isinstance(record, Tombstone) or record.input is None:
            raise Over
        names = {**_names(run), "assistant_id": run.assistant.assistant_id, "sequence": run.sequence}
        metadata = jsontext.loads(record.metadata or "{}")
        return Start(
            {**names, "attempt": run.attempt, "metadata": metadata},
            jsontext.loads(record.input),
            jsontext.loads(run.assistant.config),
            raw.values,
        )

    async def commit(self, update: Json) -> None:
        await self._persist(commands.CommitStep(*_key(self._run), update))

    async def absorb(self) -> list[dict[str, Any]]:
        offered = await self._insist(lambda: self._store.steers(self._run.thread_id, self._run.run_id))
        if not offered:
            return []
        absorb = tuple(steer.run_id for steer in offered)
        decision = await self._persist(commands.CommitStep(*_key(self._run), None, absorb=absorb))
        taken = await self._insist(lambda: self._store.taken(decision.absorbed))
        return [jsontext.loads(steer.input) for steer in taken]

    async def emit(self, shown: Sequence[Shown]) -> None:
        outputs = tuple(Output(each.channel, each.data) for each in shown)
        command = commands.PublishOutput(*_key(self._run), outputs)
        if shown[0].live_only:
            await self._insist(lambda: self._live.publish(command))
        else:
            await self._persist(command)

    async def finish(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            await self._persist(commands.FailRun(*_key(self._run), *outcome))
        else:
            last = None if outcome.update is None else outcome.update
            await self._persist(commands.SucceedRun(*_key(self._run), last))

    async def release(self) -> None:
        await self._persist(commands.AcknowledgeStop(*_key(self._run)))

    async def _persist(self, command: commands.LeaseCommand) -> Decision:
        async def change() -> Decision:
            await self._live.keep(self._run.run_id)
            return await self._changes.change(command)

        return await self._insist(change)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call, and while the database cannot be written, call again: the graph's work is not thrown away for that."""
        while True:
            try:
                return await call()
            except LeaseLost:
                raise Over from None
            except NotReady:
                await asyncio.sleep(RETRY_SECONDS)


def _key(run: Run) -> tuple[str, str, int]:
    return run.thread_id, run.run_id, run.epoch


def _names(run: Run) -> dict[str, str]:
    return {"run_id": run.run_id, "thread_id": run.thread_id}
