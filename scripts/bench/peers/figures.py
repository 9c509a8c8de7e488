"""The samples of all rounds, pooled, and what the tables and charts say of them. Standard library only.

A system's lack is None all the way: `none` on the page, no bar in a chart, never a number.
"""

import math
import statistics
from typing import Any, Final, NamedTuple

NONE: Final = "none"


class Time(NamedTuple):
    """One duration: what the page calls it, and where its samples are in each round's results."""

    title: str
    scenario: str
    samples: str


TIMES: Final = (
    Time("create → start", "idle", "create_start"),
    Time("create → join", "idle", "create_join"),
    Time("finish → next start", "queue", "finish_start"),
    Time("interrupt → successor starts", "interrupt", "start"),
    Time("rollback → successor starts", "rollback", "start"),
)


def played(system: dict[str, Any], scenario: str) -> list[dict[str, Any]]:
    """The scenario's results, of each round that has one."""
    return [found for each in system["rounds"] if (found := each.get(scenario)) is not None]


def pooled(system: dict[str, Any], time: Time) -> list[float]:
    """Milliseconds, sorted, of all rounds."""
    return sorted(sample for found in played(system, time.scenario) for sample in found[time.samples])


def percentile(ordered: list[float], share: float) -> float:
    """The smallest sample that no less than `share` of all do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def rate(system: dict[str, Any]) -> float | None:
    """Runs per second: the median of the rounds."""
    found = [each["runs_per_second"] for each in played(system, "busy")]
    return statistics.median(found) if found else None


def total(system: dict[str, Any], scenario: str, count: str) -> int | None:
    found = [each[count] for each in played(system, scenario)]
    return sum(found) if found else None


def short(number: float) -> str:
    """With at least two significant digits, and none after the point from ten on."""
    return f"{number:.2g}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"
