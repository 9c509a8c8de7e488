"""The leases that are held, by workers and the server itself. After a restart, a worker's is listed once renewed."""

from collections import Counter

from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import RunStatus


class HeldLeases:
    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._graphs: Counter[str] = Counter()
        self._offers: set[str] = set()

    def run(self, run_id: str) -> Run | None:
        """Return a run that is under a lease, or None for a run whose lease is not known."""
        return self._runs.get(run_id)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Take note of the runs under a lease, and of the times at which their leases expire."""
        (self._offers.add if decision.offers else self._offers.discard)(thread_id)
        for run in decision.moved:
            before = self._runs.pop(run.run_id, None)
            if before is not None:
                self._graphs[before.assistant.graph] -= 1
            if run.status is RunStatus.RUNNING:
                self._runs[run.run_id] = run
                self._graphs[run.assistant.graph] += 1

    def has_offers(self, thread_id: str) -> bool:
        """Whether the thread's run may take inputs, as of the thread's newest commit."""
        return thread_id in self._offers

    def executes(self, graph: str) -> bool:
        """Whether a run of the graph is in execution."""
        return self._graphs[graph] > 0
