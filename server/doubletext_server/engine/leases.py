"""The leases that are held, as the last commits left them. After a restart it lacks those not yet renewed."""

from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import RunStatus


class HeldLeases:
    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def run(self, run_id: str) -> Run | None:
        """The run under a lease; None for one of which nothing is known."""
        return self._runs.get(run_id)

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Take note of a commit: which runs are under a lease, and until when."""
        for run in decision.moved:
            if run.status is RunStatus.RUNNING and run.lease_expires is not None:
                self._runs[run.run_id] = run
            else:
                self._runs.pop(run.run_id, None)
