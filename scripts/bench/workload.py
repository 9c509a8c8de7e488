"""What a workload is: a name, what the page says of it, and a coroutine that measures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.bench import Bench
from bench.budget import LINES
from bench.measured import Ratio, Result, Side, Verdict
from bench.text import figure


@dataclass(frozen=True)
class Workload:
    """how    what is done and what is measured, for the page
    lines  the keys of the budget's lines that it judges
    run    measures; every line is to have a verdict then
    """

    name: str
    title: str
    how: str
    run: Callable[[Bench], Awaitable[Result]]
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "how", " ".join(self.how.split()))
        assert set(self.lines) <= LINES.keys()


def by_rate(key: str, sides: list[Side], ratio: Ratio) -> Verdict:
    """A line about calls per second beside another side's: theirs first."""
    theirs, ours = sides
    return Verdict(key, ratio.median, f"{figure(ours.rate)} calls/s; {theirs.name} {figure(theirs.rate)} calls/s")


def by_p50(key: str, sides: list[Side], ratio: Ratio) -> Verdict:
    theirs, ours = sides
    return Verdict(key, ratio.median, f"{figure(ours.p50_ms)} ms; {theirs.name} {figure(theirs.p50_ms)} ms")
