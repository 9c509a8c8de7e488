"""All that one run of the benchmark found, as it stands in the JSON beside the page."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.bench import Plan
from bench.budget import LINES
from bench.measured import Result, Verdict
from bench.workload import Workload
from bench.workloads import WORKLOADS


@dataclass
class Report:
    """results  by the workload's name; those that were not run are not there
    peers    what the comparison with others found, None when it was not run
    began    UTC, as text
    minutes  how long it took in all
    """

    plan: Plan
    began: str
    machine: dict[str, str]
    results: dict[str, Result] = field(default_factory=dict)
    peers: dict[str, Any] | None = None
    minutes: float = 0.0

    @property
    def verdicts(self) -> dict[str, Verdict]:
        return {verdict.key: verdict for result in self.results.values() for verdict in result.verdicts}

    @property
    def not_run(self) -> list[Workload]:
        return [workload for workload in WORKLOADS if workload.name not in self.results]

    def as_json(self) -> dict[str, Any]:
        verdicts = self.verdicts
        budget = [
            {"line": line.what, "budget": line.budget, **_outcome(verdicts.get(key))} for key, line in LINES.items()
        ]
        return {**asdict(self), "budget": budget, "not_run": [workload.name for workload in self.not_run]}


def _outcome(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"measured": None, "value": None, "met": None}
    return {"measured": verdict.measured, "value": verdict.value, "met": LINES[verdict.key].met(verdict.value)}
