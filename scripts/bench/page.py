"""The page: docs/benchmarks.md. Every number in it comes from the report; what was not run has none."""

from collections.abc import Iterable, Iterator

from bench.budget import LINES
from bench.measured import Curve, Ratio, Result, Side, Verdict
from bench.report import Report
from bench.text import counted, figure, times
from bench.workload import Workload
from bench.workloads import WORKLOADS

NOT_RUN = "not run"
FOLDER = "benchmarks"
"""Where the charts lie, beside the page."""


def page(report: Report, peers: str = "") -> str:
    """`peers`: the section on them with its heading, empty when they were not run."""
    return "\n".join(_lines(report, peers)) + "\n"


def _lines(report: Report, peers: str) -> Iterator[str]:
    plan = report.plan
    yield "# Benchmarks\n"
    yield "<!-- Written by scripts/bench/run, numbers and all: run it again rather than editing this. -->\n"
    if plan.quick:
        yield "**This was a quick run: few and short rounds, small files. Its figures are rough.**\n"
    yield (
        f"What `./scripts/bench/run{' --quick' if plan.quick else ''}` measured on {report.began}, in "
        f"{figure(report.minutes)} minutes. Everything is durable, as always (SQLite, WAL, `synchronous=FULL`): an "
        "answer leaves after its commit.\n"
    )
    yield "## The budget\n"
    yield from budget(report.verdicts)
    if any(result.sides for result in report.results.values()):
        yield f"![Calls per second]({FOLDER}/rates.svg)\n"
    yield "## What it was measured on\n"
    yield from _table(("", ""), report.machine.items())
    yield "## How it is measured\n"
    yield from (f"- {line}" for line in _how(report))
    yield ""
    for workload in WORKLOADS:
        yield f"## {workload.title}\n"
        yield f"{workload.how}\n"
        yield from _result(workload, report.results.get(workload.name))
    yield peers or f"## Beside its peers\n\n{NOT_RUN.capitalize()}.\n"


def _how(report: Report) -> Iterator[str]:
    plan = report.plan
    yield (
        "*Bare echo* is a `grpc.aio` server without anything around it, on asyncio's own loop, that reads the same "
        "CreateRunRequest and answers with a CreateRunResponse of the same size: what Python and gRPC by themselves "
        "take on this machine."
    )
    yield (
        "Load comes from a process of its own, as many asyncio tasks as there are callers, over one connection, with "
        "the generated stubs. Servers are processes of their own, too. One side is loaded at a time, the others sleep."
    )
    yield (
        f"The sides take turns: {plan.rounds} rounds of A B C, {figure(plan.seconds)} s each unless calls are counted "
        f"instead, after {figure(plan.warm)} s of warming up that nothing is counted of. A ratio is taken within each "
        "round, between neighbours, and the median of these is told; so is the median of the rounds' calls per second. "
        "Percentiles are of the samples of all rounds together."
    )
    yield "CPU is the time that the server's process took, memory its highest resident size since its start (/proc)."
    yield "A call that fails, or is answered otherwise than it should be, ends the benchmark without a page."


def budget(verdicts: dict[str, Verdict], keys: Iterable[str] = LINES) -> Iterator[str]:
    """The budget's table: these lines of it, whether they were measured or not."""
    rows = []
    for key in keys:
        line, verdict = LINES[key], verdicts.get(key)
        if verdict is None:
            rows.append((line.what, line.budget, NOT_RUN, "–", NOT_RUN))
            continue
        ratio = times(verdict.value) if line.is_ratio else "–"
        met = "met" if line.met(verdict.value) else "**missed**"
        rows.append((line.what, line.budget, verdict.measured, ratio, met))
    yield from _table(("line", "budget", "measured", "ratio", ""), rows)


def _result(workload: Workload, result: Result | None) -> Iterator[str]:
    if result is None:
        yield f"{NOT_RUN.capitalize()}.\n"
        return
    if result.sides:
        yield from sides(result.sides)
    if result.ratios:
        yield from _ratios(result.ratios)
    for curve in result.curves:
        yield f"![{curve.title}]({FOLDER}/{curve.name}.svg)\n"
        yield from _curve(curve)
    if result.facts:
        yield from (f"- {fact}" for fact in result.facts)
        yield ""


def sides(rows: Iterable[Side]) -> Iterator[str]:
    head = ("", "calls/s", "p50, ms", "p90, ms", "p99, ms", "highest, ms", "samples", "CPU per call, µs", "peak, MiB")
    yield from _table(
        head,
        (
            (
                side.name,
                figure(side.rate) if side.rates else "–",
                *(figure(value) for value in (side.p50_ms, side.p90_ms, side.p99_ms, side.max_ms)),
                counted(side.samples),
                "–" if side.cpu_us is None else figure(side.cpu_us),
                figure(side.peak_mib),
            )
            for side in rows
        ),
    )


def _ratios(ratios: list[Ratio]) -> Iterator[str]:
    rows = ((each.what, times(each.median), times(min(each.each)), times(max(each.each))) for each in ratios)
    yield from _table(("ratio", "median", "lowest round", "highest round"), rows)


def _curve(curve: Curve) -> Iterator[str]:
    head = [curve.x, *(counted(x) for x in curve.xs), "last ÷ first"]
    yield from _table(
        head,
        (
            [
                f"{what}: {name}",
                *(figure(value) for value in values),
                times(values[-1] / values[0]) if values[0] else "–",
            ]
            for what, series in curve.panels.items()
            for name, values in series.items()
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    head = list(head)
    yield line(head)
    yield line("---" if place == 0 else "---:" if len(head) > 2 else "---" for place in range(len(head)))
    yield from (line(row) for row in rows)
    yield ""
