"""What was measured, and the arithmetic on it: ratios are taken round by round, percentiles from all samples together.

Knows nothing of processes or gRPC, so that it can be tested by hand-made numbers. Times are seconds unless a name says
otherwise.
"""

import math
from array import array
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

T = TypeVar("T")

LATENCY: Final = "latency"
"""The series that every load has: from the call to its answer, as the client sees it."""


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0 to 1) of all samples are not above. Raises ValueError for none."""
    if not samples:
        raise ValueError("there are no samples, so there is no percentile")
    return sorted(samples)[max(math.ceil(share * len(samples)), 1) - 1]


@dataclass(frozen=True)
class Window:
    """One load for a while. `cpu`: CPU time that the server's processes took meanwhile."""

    seconds: float
    series: Mapping[str, Sequence[float]]
    cpu: float = 0.0

    @property
    def calls(self) -> int:
        return len(self.series[LATENCY])

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    def p50(self, series: str = LATENCY) -> float:
        return percentile(self.series[series], 0.5)


async def interleave(
    rounds: int, sides: Mapping[str, Callable[[], Awaitable[T]]], warm: Callable[[str], Awaitable[object]] | None = None
) -> dict[str, list[T]]:
    """Measure A B C A B C …, so that what disturbs the machine for a while disturbs all of them. `warm` comes first,
    once for each, and is not counted."""
    if warm is not None:
        for name in sides:
            await warm(name)
    measured: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            measured[name].append(await measure())
    return measured


@dataclass(frozen=True)
class Ratio:
    """Two sides compared. `each`: one ratio for each round, of what was measured right after one another."""

    what: str
    each: list[float]

    @property
    def median(self) -> float:
        return median(self.each)


def ratio(what: str, ours: Sequence[Window], theirs: Sequence[Window], of: Callable[[Window], float]) -> Ratio:
    return Ratio(what, [of(mine) / of(other) for mine, other in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class Side:
    """One of those compared, over all its rounds. Milliseconds by percentile, from the samples of all rounds.

    samples   how many these are
    rates     calls per second in each round; none where the pace of the calls says nothing
    cpu_us    microseconds of CPU time that the server's processes took for each call; None for a part of a call
    peak_mib  their memory at its highest since they started
    """

    name: str
    samples: int
    rates: list[float]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: float | None
    peak_mib: float

    @property
    def rate(self) -> float:
        return median(self.rates)


def summed(
    name: str, windows: Sequence[Window], peak_mib: float, series: str = LATENCY, *, paced: bool = False
) -> Side:
    """`paced`: something else than the answers sets the pace of the calls, so that a rate says nothing."""
    pooled = pool(windows, series)
    return Side(
        name,
        len(pooled),
        [] if paced else [len(window.series[series]) / window.seconds for window in windows],
        1000 * percentile(pooled, 0.5),
        1000 * percentile(pooled, 0.9),
        1000 * percentile(pooled, 0.99),
        1000 * max(pooled),
        1_000_000 * sum(window.cpu for window in windows) / len(pooled) if series == LATENCY else None,
        peak_mib,
    )


def pool(windows: Iterable[Window], series: str = LATENCY) -> "array[float]":
    pooled = array("d")
    for window in windows:
        pooled.extend(window.series[series])
    return pooled


@dataclass(frozen=True)
class Curve:
    """What becomes of something as something else grows: one chart, with a panel for each key of `panels`.

    panels  by what the panel's axis says, unit included: the values at each of `xs`, by the name of their line
    """

    name: str
    title: str
    x: str
    xs: list[int]
    panels: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Verdict:
    """How a line of the budget came out. `key` is the line's in budget.LINES, `value` what is held against its bound,
    `measured` the same in words, with its units."""

    key: str
    value: float
    measured: str


@dataclass
class Result:
    """What one workload found. `facts` are sentences, with figures of this very run."""

    sides: list[Side] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
