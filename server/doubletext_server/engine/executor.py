"""Runs the server's own graphs, as one more claimer: claim, commit each step, finish.

A run that becomes ready while there is a free slot is claimed in the very commit that made it ready (`follow_up`).
Others wait for their turn at the dispatcher. Either way the claim's commit starts it.

A stop cancels the graph's task at once. A graph that goes on all the same is fenced: the arbiter refuses what it
commits, and its thread waits for its end no longer than the assistant's `stop_grace`.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from doubletext.graph import Context, Graph, describe
from doubletext.structs import update_struct
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.dispatcher import RETRY_SECONDS, Dispatcher
from doubletext_server.json_text import dump
from doubletext_server.store.protocol import Store
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost, NotReady, Refusal
from doubletext_statemachine.model import Json, Output, Run, Tombstone
from doubletext_statemachine.words import STOPPED, LeaseCause, RunStatus

SLOTS: Final = 1000
"""Runs in execution at once; further ones wait. Those of one commit are counted after it, and may exceed it."""

LARGEST_UPDATE: Final = 4 * 1024 * 1024

log = structlog.get_logger("executor")


@dataclass(slots=True)
class Attempt:
    """One claimed run. `task` runs its graph. `stopped`: its thread waits for it to end."""

    run: Run
    task: asyncio.Task[None]
    stopped: bool = False


class Executor:
    def __init__(self, store: Store, dispatcher: Dispatcher, graphs: Mapping[str, Graph]) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._graphs = graphs
        self._names = frozenset(graphs)
        self._live: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # claims and attempts; each takes a slot
        self._slot_freed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._draining = False

    def start(self, changes: Changes) -> None:
        """Claim and execute runs from now on."""
        self._changes = changes
        self._serving = asyncio.create_task(self._serve())

    def follow_up(self, thread_id: str, decision: Decision) -> commands.ClaimRun | None:
        """The claim of the run that a Decision makes ready, when it is to be executed here and at once."""
        ready = decision.upcoming.ready
        if ready is None or ready.assistant.graph not in self._names:
            return None
        if self._serving is None or self._draining or len(self._tasks) >= SLOTS:
            return None
        return commands.ClaimRun(thread_id, self._names)

    async def _serve(self) -> None:
        while True:
            while len(self._tasks) >= SLOTS:
                self._slot_freed.clear()
                await self._slot_freed.wait()
            try:
                thread_id = await self._dispatcher.next(self._names)
            except NotReady:
                return
            self._run(self._claim(thread_id))

    async def _claim(self, thread_id: str) -> None:
        try:
            await self._changes.change(commands.ClaimRun(thread_id, self._names))
        except Refusal as refusal:
            log.warning("a claim will be tried again", thread_id=thread_id, error=str(refusal))
            self._dispatcher.retry(thread_id)

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slot_freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt failed", exc_info=error)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Take note of a commit: start what it claimed, and stop what it stopped."""
        for run in decision.moved:
            attempt = self._live.get(run.run_id)
            if run.status is RunStatus.RUNNING and run.worker_id is not None:
                continue
            if run.status is RunStatus.RUNNING:
                if attempt is None or attempt.run.epoch != run.epoch:
                    self._begin(run)
            elif attempt is not None:
                del self._live[run.run_id]
                attempt.stopped = run.status in STOPPED
                if attempt.stopped or run.status is RunStatus.PENDING:  # else the attempt itself has ended it
                    attempt.task.cancel()

    def _begin(self, run: Run) -> None:
        if self._draining:
            self._run(self._release(run))
            return
        attempt = self._live[run.run_id] = Attempt(run, self._run(self._execute(run)))
        attempt.task.add_done_callback(lambda _: self._ended(attempt))

    def _ended(self, attempt: Attempt) -> None:
        """The attempt's task is over, or was stopped before it began."""
        lease = _lease(attempt.run)
        if attempt.stopped:
            self._run(self._persist(commands.AcknowledgeStop(*lease)))
        elif self._is_live(attempt.run) and not self._draining:  # the graph itself let its task be cancelled
            self._run(self._finish(commands.FailRun(*lease, "CancelledError", "the graph cancelled itself")))

    async def _execute(self, run: Run) -> None:
        outcome: commands.SucceedRun | commands.FailRun
        try:
            outcome = await self._outcome(run)
        except LeaseLost:
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # sys.exit() in a graph, too, ends its run and not the server
            if not self._is_live(run):
                log.info("a stopped graph failed", run_id=run.run_id, error=repr(error))
                return
            log.exception("a graph failed", run_id=run.run_id, thread_id=run.thread_id, graph=run.assistant.graph)
            outcome = commands.FailRun(*_lease(run), *describe(error))
        await self._finish(outcome)

    async def _outcome(self, run: Run) -> commands.SucceedRun:
        """Run the graph to its end; raises what it raises, and LeaseLost once the run is over."""
        graph = self._graphs[run.assistant.graph]

        async def commit(update: Any) -> None:
            await self._persist(commands.CommitStep(*_lease(run), checked(update)))

        last = await graph.run(await self._context(run), commit)
        return commands.SucceedRun(*_lease(run), None if last is None else checked(last))

    async def _context(self, run: Run) -> Context:
        record, raw = await self._store.start_of(run.thread_id, run.run_id)
        if record is None or isinstance(record, Tombstone) or record.input is None:
            raise LeaseLost(run_id=run.run_id, epoch=run.epoch, current_epoch=0, cause=LeaseCause.DELETED)

        async def emit(channel: str, data: dict[str, Any]) -> None:
            await self._persist(commands.PublishOutput(*_lease(run), (Output(channel, checked(data)),)))

        return Context(
            run={
                "run_id": run.run_id,
                "thread_id": run.thread_id,
                "assistant_id": run.assistant.assistant_id,
                "sequence": run.sequence,
                "attempt": run.attempt,
                "metadata": json.loads(record.metadata or "{}"),
            },
            input=json.loads(record.input),
            config=json.loads(run.assistant.config),
            load_state=raw.values,
            emit=emit,
        )

    async def _finish(self, outcome: commands.SucceedRun | commands.FailRun) -> None:
        try:
            await self._persist(outcome)
        except LeaseLost:
            log.info("an outcome came too late", run_id=outcome.run_id)

    async def _persist(self, request: commands.LeaseCommand) -> None:
        """Commit, and while the database cannot be written, try again: the graph's work is not thrown away for that."""
        while True:
            try:
                await self._changes.change(request)
                return
            except NotReady:
                await asyncio.sleep(RETRY_SECONDS)

    def _is_live(self, run: Run) -> bool:
        attempt = self._live.get(run.run_id)
        return attempt is not None and attempt.run.epoch == run.epoch

    async def drain(self, seconds: float) -> bool:
        """Claim no more, hand back what runs, and wait so long for the graphs to obey. Returns whether some do not."""
        self._draining = True
        if self._serving is not None:
            self._serving.cancel()
        await self._store.settled()  # the last claims are known then
        await asyncio.gather(*(self._release(attempt.run) for attempt in self._live.values()))
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
            await self._changes.change(commands.ReleaseRun(*_lease(run)))
        except Refusal as refusal:
            log.warning("a run was not handed back", run_id=run.run_id, error=str(refusal))


def _lease(run: Run) -> tuple[str, str, int]:
    return run.thread_id, run.run_id, run.epoch


def checked(update: Any) -> Json:
    """What a graph gave as an update, as JSON text. Raises TypeError or ValueError that says what is wrong with it."""
    update_struct(update)
    text = dump(update)
    size = len(text.encode())
    if size > LARGEST_UPDATE:
        raise ValueError(f"a graph's update may have {LARGEST_UPDATE} bytes as JSON; this one has {size}")
    return text
