"""The leases that workers hold. After a restart, a lease is listed once it was renewed."""

from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import RunStatus


class HeldLeases:
    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def run(self, run_id: str) -> Run | None:
        """Return a run that is under a lease, or None for a run whose lease is not known."""
        return self._runs.get(run_id)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Take note of the runs under a lease, and of the times at which their leases expire."""
        for run in decision.moved:
            if run.status is RunStatus.RUNNING and run.lease_expires is not None:
                self._runs[run.run_id] = run
            else:
                self._runs.pop(run.run_id, None)
