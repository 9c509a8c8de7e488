"""The dispatcher offers threads whose next run is ready to claimers, in the order in which the threads became ready.

It acts on commits and never polls. A thread has at most one alarm, for what becomes possible when time has passed: a
delay, a timeout, the end of a lease or of a grace.
"""

import asyncio
import time
from collections.abc import Collection
from typing import Final

import structlog

from doubletext_server.clock import Clock
from doubletext_server.engine.alarms import Alarms
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.engine.suspects import Suspects
from doubletext_statemachine.commands import Tick
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import NotReady, Refusal
from doubletext_statemachine.queue import Upcoming
from doubletext_statemachine.words import Reason

RETRY_SECONDS: Final = 1.0
SERVED_SECONDS: Final = 60.0
"""A graph that a worker has asked for is taken to be served for so long."""
UNSERVED_SECONDS: Final = 10.0
"""After so long the log says that nobody executes a graph: workers may be about to start."""

log = structlog.get_logger("dispatcher")


class Dispatcher:
    """A thread whose next run is a suspect is offered when that one may be tried: see engine.suspects."""

    def __init__(self, clock: Clock, suspects: Suspects, held: HeldLeases, own_graphs: Collection[str] = ()) -> None:
        self._suspects = suspects
        self._held = held
        self._own_graphs = frozenset(own_graphs)
        self._asked: dict[str, float] = {}  # graph -> when a claimer last asked for it, the longest ago first
        self._unserved: set[str] = set()  # graphs of which the log has said that nobody executes them
        self._suspended: dict[str, tuple[int, str, str]] = {}  # thread -> its turn, the graph, the suspect
        self._ready: dict[str, dict[str, int]] = {}  # graph -> thread -> the number of its turn
        self._graph_of: dict[str, str] = {}
        self._turns = 0
        self._claimers: dict[asyncio.Future[str], frozenset[str]] = {}  # in the order in which they came
        self._alarms = Alarms(clock, self._look_at)
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._ticks: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, changes: Changes) -> None:
        """Let timers make changes. Call this before the first commit."""
        self._changes = changes

    def serves(self, graph: str) -> bool:
        """Whether somebody is there who executes the graph: the server itself, or a worker that has shown up lately.

        May be called on any thread.
        """
        if graph in self._own_graphs or self._held.executes(graph):
            return True
        if any(graph in graphs for graphs in list(self._claimers.values())):
            return True
        return self._loop_time() - self._asked.get(graph, -SERVED_SECONDS) < SERVED_SECONDS

    @property
    def unserved(self) -> int:
        """How many threads have a run next that nobody is there to execute. May be read on any thread."""
        return sum(len(threads) for graph, threads in list(self._ready.items()) if not self.serves(graph))

    def _note_asked(self, graphs: frozenset[str]) -> None:
        now = self._loop_time()
        for graph in graphs:
            self._asked.pop(graph, None)
            self._asked[graph] = now
            self._unserved.discard(graph)
        while self._asked and now - next(iter(self._asked.values())) >= SERVED_SECONDS:
            del self._asked[next(iter(self._asked))]

    @staticmethod
    def _loop_time() -> float:
        return time.monotonic()

    def _say_if_unserved(self, graph: str) -> None:
        if not self._closed and graph in self._ready and not self.serves(graph):
            runs = len(self._ready[graph])
            log.warning("nobody executes this graph; start a worker for it", graph=graph, threads_that_wait=runs)

    @property
    def claimers(self) -> int:
        """How many claimers wait. May be read on any thread."""
        return len(self._claimers)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Offer the thread if its next run is ready, and set its timer."""
        self._note(thread_id, decision.upcoming)

    def _note(self, thread_id: str, upcoming: Upcoming) -> None:
        if (retry := self._retries.pop(thread_id, None)) is not None:
            retry.cancel()
        if self._closed:
            return
        if upcoming.wake is not None:
            self._alarms.set(thread_id, upcoming.wake)
        else:
            self._alarms.clear(thread_id)
        self._suspended.pop(thread_id, None)
        ready = upcoming.ready
        graph = ready.assistant.graph if ready else None
        if ready and ready.run_id in self._suspects.runs:
            self._suspects.waits(ready.run_id)
            self._turns += 1
            self._suspended[thread_id] = (self._turns, ready.assistant.graph, ready.run_id)
            graph = None
        if graph != (known := self._graph_of.get(thread_id)):
            if known is not None:
                self._forget(thread_id)
            if graph is not None:
                self._offer(thread_id, graph)
        if self._suspended:
            self._offer_suspects()

    def _offer_suspects(self) -> None:
        for claimer, graphs in self._claimers.items():
            if not claimer.done() and (found := self._first_suspect(graphs)) is not None:
                claimer.set_result(self._hand_out(found[1]))

    def _first_suspect(self, graphs: frozenset[str]) -> tuple[int, str] | None:
        for thread_id, (turn, graph, run_id) in self._suspended.items():
            if graph in graphs and self._suspects.may_be_tried(run_id):
                return turn, thread_id
        return None

    def _hand_out(self, thread_id: str) -> str:
        _, _, run_id = self._suspended.pop(thread_id)
        self._suspects.tried(run_id)
        return thread_id

    def _offer(self, thread_id: str, graph: str) -> None:
        for claimer, graphs in self._claimers.items():
            if graph in graphs and not claimer.done():
                claimer.set_result(thread_id)
                return
        self._turns += 1
        self._graph_of[thread_id] = graph
        self._ready.setdefault(graph, {})[thread_id] = self._turns
        if graph not in self._unserved and not self.serves(graph):
            self._unserved.add(graph)
            asyncio.get_running_loop().call_later(UNSERVED_SECONDS, self._say_if_unserved, graph)

    def _forget(self, thread_id: str) -> None:
        graph = self._graph_of.pop(thread_id)
        del self._ready[graph][thread_id]
        if not self._ready[graph]:
            del self._ready[graph]

    async def next(self, graphs: frozenset[str]) -> str:
        """Wait for a thread whose next run is ready and has one of `graphs`. Return the id of the longest ready one.

        A commit that leaves a thread ready offers it to one claimer only. A claimer that then fails to claim must call
        `retry`. Raises NotReady when the server stops.
        """
        if self._closed:
            raise NotReady(what="stopping")
        self._note_asked(graphs)
        heads = [(turn, thread_id) for graph in graphs for thread_id, turn in self._first(graph)]
        if self._suspended and (suspect := self._first_suspect(graphs)) is not None:
            heads.append(suspect)
        if heads:
            _, thread_id = min(heads)
            if thread_id in self._suspended:
                return self._hand_out(thread_id)
            self._forget(thread_id)
            return thread_id
        claimer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._claimers[claimer] = graphs
        try:
            return await claimer
        except asyncio.CancelledError:
            if claimer.done() and not claimer.cancelled() and claimer.exception() is None:
                self.retry(claimer.result(), 0)  # mutant: claimer-gone
            raise
        finally:
            del self._claimers[claimer]

    def _first(self, graph: str) -> list[tuple[str, int]]:
        return [next(iter(self._ready[graph].items()))] if graph in self._ready else []

    def retry(self, thread_id: str, seconds: float = RETRY_SECONDS) -> None:
        """Decide about the thread again after some seconds, because it could not be claimed or written now."""
        if self._closed:
            return
        if (earlier := self._retries.pop(thread_id, None)) is not None:
            earlier.cancel()
        self._retries[thread_id] = asyncio.get_running_loop().call_later(seconds, self._look_at, thread_id)

    def _look_at(self, thread_id: str) -> None:
        self._retries.pop(thread_id, None)
        task = asyncio.create_task(self._tick(thread_id))
        self._ticks.add(task)
        task.add_done_callback(self._ticks.discard)

    async def _tick(self, thread_id: str) -> None:
        try:
            with self._suspects.sparing(thread_id) as spared:
                decision = await self._changes.change(Tick(thread_id, spared))
        except Refusal as refusal:
            log.warning("a timer will be tried again", thread_id=thread_id, error=str(refusal))
            self.retry(thread_id)
            return
        for run in decision.moved:
            if run.reason in (Reason.LEASE_LOST, Reason.MAX_ATTEMPTS) or run.run_id == spared:
                log.warning("a worker fell silent", worker_id=run.worker_id, run_id=run.run_id, attempt=run.attempt)

    async def close(self) -> None:
        """Stop offering threads, cancel the timers, and let the claimers fail with NotReady."""
        self._closed = True
        for claimer in self._claimers:
            if not claimer.done():
                claimer.set_exception(NotReady(what="stopping"))
        self._alarms.close()
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()
        await asyncio.gather(*self._ticks, return_exceptions=True)
