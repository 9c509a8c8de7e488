"""The metrics of the server, which Prometheus reads on a port of its own.

They are counted as commits, refusals and batches happen. The numbers of waiting calls are read when Prometheus asks.
Measuring never reads the database. A label has few values and never an id. docs/operations.md lists all metrics.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from doubletext_server.address import host_and_port, taken
from doubletext_server.grpc.errors import reason_of
from doubletext_server.ops.scraping import Scraped
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run, RunChanged
from doubletext_statemachine.queue import NOTHING
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import IN_FLIGHT, Reason, RunStatus, Strategy

CREATE_RUN: Final = "/doubletext.v1.RunService/CreateRun"
NONE: Final = "none"
"""The value of a label that names nothing. For Prometheus, a label with an empty value does not exist."""

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

REFUSED: Final = {
    reason: strategy.value
    for strategy, rules in STRATEGIES.items()
    for reason, applies in (
        ("THREAD_BUSY", rules.needs_idle),
        ("QUEUE_FULL", bool(rules.policies) and not rules.first and not rules.steers),
    )
    if applies
}
"""The strategy that was applied when CreateRun was refused for a reason. Other refusals come before the strategy."""

S, R = RunStatus, Reason
ENDS: Final[tuple[tuple[RunStatus, Reason | None], ...]] = (
    (S.SUCCESS, None),
    (S.ERROR, None),
    (S.ERROR, R.MAX_ATTEMPTS),
    (S.TIMEOUT, R.TIMEOUT),
    (S.INTERRUPTED, R.SUPERSEDED),
    (S.INTERRUPTED, R.CANCELLED),
    (S.DELETED, R.SUPERSEDED),
    (S.DELETED, R.CANCELLED),
    (S.DELETED, R.THREAD_DELETED),
)
"""How runs end. Each series exists from the start with 0, so that Prometheus sees the first run of a kind as a rise."""


@dataclass(slots=True, frozen=True)
class Gap:
    """The time between two runs of a thread.

    since      when the successor was due, or when the first of the two runs ended
    successor  the run that superseded the first one, if a run did
    """

    since: int
    successor: str | None = None


class Metrics:
    """The metrics and the HTTP server for them.

    waiting   for each kind of waiting call, a function that counts them; it is called on another thread than the loop's
    unserved  counts the threads whose next run nobody is there to execute, on another thread too
    """

    def __init__(self, waiting: Mapping[str, Callable[[], int]], unserved: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        self._gaps: dict[str, Gap] = {}
        self._server: Scraped | None = None

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"doubletext_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"doubletext_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"doubletext_{name}", meaning, buckets=buckets, registry=registry)

        self._admissions = counter("admissions_total", "CreateRun calls, by outcome", "strategy", "verdict")
        self._in_flight = gauge("runs_in_flight", "Runs that are pending or running", "status")
        self._finished = counter("runs_finished_total", "Runs that have become final", "status", "reason")
        self._leases_lost = counter("leases_lost_total", "Attempts whose executor was lost", "cause")
        self._overdue = counter("stops_overdue_total", "Stopped attempts that did not end within their grace")
        self._queue = histogram("queue_seconds", "From when a run is due to its first start")
        self._hand_off = histogram("hand_off_seconds", "From the end of a run to the start of the next in line")
        self._supersede = histogram("supersede_seconds", "From the admission of a superseding run to its start")
        self._commit_size = histogram("commit_batch_size", "Changes that shared a commit", SIZES)
        self._commit = histogram("commit_seconds", "Time that a commit with its changes took")
        waiters = gauge("waiting", "Calls that are waiting", "kind")

        gauge("threads_unserved", "Threads whose next run nobody is there to execute").set_function(unserved)
        for kind, count in waiting.items():
            waiters.labels(kind).set_function(count)
        for strategy in Strategy:
            self._admissions.labels(strategy.value, "admitted")
        for reason, applied in REFUSED.items():
            self._admissions.labels(applied, reason)
        self._admissions.labels(NONE, "repeated")
        for status in IN_FLIGHT:
            self._in_flight.labels(status.value)
        for end, why in ENDS:
            self._finished.labels(end.value, why.value if why else NONE)
        for cause in ("expired", "restarted"):
            self._leases_lost.labels(cause)
        ProcessCollector(registry=registry)
        GCCollector(registry)

    # What is counted

    def starts_with(self, in_flight: Mapping[RunStatus, int]) -> None:
        """Set the numbers of runs that were in flight before the first commit."""
        for status, count in in_flight.items():
            self._in_flight.labels(status.value).set(count)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Count what a commit changed."""
        if decision.admitted is not None:
            self._admissions.labels(decision.admitted.strategy.value, "admitted").inc()
        elif decision.repeated is not None:
            self._admissions.labels(NONE, "repeated").inc()
        for event in decision.events:
            if isinstance(event.kind, RunChanged):
                self._count(event.kind, decision.run)
                self._time(thread_id, event.kind, decision)
        if decision.admitted is not None and decision.superseded:
            self._gaps[thread_id] = Gap(decision.admitted.due_time, decision.admitted.run_id)
        if decision.upcoming == NOTHING:  # no run is next
            self._gaps.pop(thread_id, None)
        if decision.overdue is not None:
            self._overdue.inc()

    def refused(self, method: str, error: Exception) -> None:
        """Count a call that failed."""
        if method == CREATE_RUN:
            reason = reason_of(error)
            self._admissions.labels(REFUSED.get(reason, NONE), reason).inc()

    def committed(self, size: int, seconds: float) -> None:
        """Count a batch of the writer."""
        self._commit_size.observe(size)
        self._commit.observe(seconds)

    def _count(self, change: RunChanged, about: object) -> None:
        if change.before is not None:
            self._in_flight.labels(change.before.value).dec()
        if change.after in IN_FLIGHT:
            self._in_flight.labels(change.after.value).inc()
        else:
            self._finished.labels(change.after.value, change.reason.value if change.reason else NONE).inc()
        if change.reason in (Reason.LEASE_LOST, Reason.MAX_ATTEMPTS):
            # Only leases of workers expire. A lease of the server's own lasts as long as its process.
            expired = isinstance(about, Run) and about.worker_id is not None
            self._leases_lost.labels("expired" if expired else "restarted").inc()

    def _time(self, thread_id: str, change: RunChanged, decision: Decision) -> None:
        if change.after is RunStatus.RUNNING:
            assert isinstance(decision.run, Run)
            self._started(decision.run, self._gaps.pop(thread_id, None))
        elif change.before is RunStatus.RUNNING and change.after not in IN_FLIGHT:
            self._gaps[thread_id] = Gap(next(run.end_time for run in decision.moved if run.end_time is not None))

    def _started(self, run: Run, gap: Gap | None) -> None:
        assert run.start_time is not None
        if run.epoch == 1:
            self._queue.observe((run.start_time - run.due_time) / 1_000_000)
        if gap is None:
            return
        if gap.successor == run.run_id:
            self._supersede.observe((run.start_time - gap.since) / 1_000_000)
        elif gap.successor is None and run.due_time <= gap.since:
            self._hand_off.observe((run.start_time - gap.since) / 1_000_000)

    # Where Prometheus asks

    async def listen(self, address: str) -> str:
        """Answer over HTTP until `close`. Return the address with the port that was chosen. Raises CannotListen."""
        host, port = host_and_port(address)
        try:
            server = Scraped(host.strip("[]"), port, self.registry)
        except OSError:
            raise taken(address, "--metrics") from None
        self._server = server
        return f"{host}:{server.server_port}"

    async def close(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
