"""Measure this service, and write what was measured to benchmarks.md, benchmarks.json and benchmarks/*.svg."""

import argparse
import asyncio
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench import charts, machine
from bench.bench import FULL, QUICK, Bench, Plan
from bench.budget import LINES
from bench.measured import Result
from bench.page import FOLDER, budget, page
from bench.processes import ROOT, LoadFailed
from bench.report import Report
from bench.text import figure, times
from bench.workload import Workload
from bench.workloads import WORKLOADS
from doubletext_server.clock import system_clock

PEER_ROUNDS: Final = 3
"""With others a round is minutes, not seconds."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: short rounds, small files, no others")
    parser.add_argument("--without-peers", action="store_true", help="do not compare with others")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[workload.name for workload in WORKLOADS],
        help="run these, and print what they found; a page is written only with --out. "
        + ", ".join(workload.name for workload in WORKLOADS),
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the page is written; docs unless given")
    return parser.parse_args()


async def measure(workload: Workload, plan: Plan) -> Result:
    began = time.monotonic()
    say(f"{workload.name}: {workload.title}")
    with tempfile.TemporaryDirectory(prefix="doubletext-bench-") as folder:
        async with Bench(plan, Path(folder), say) as bench:
            result = await workload.run(bench)
    assert {verdict.key for verdict in result.verdicts} == set(workload.lines)
    for side in result.sides:
        rate = f"{figure(side.rate)} calls/s, " if side.rates else ""
        say(f"  {side.name}: {rate}p50 {figure(side.p50_ms)} ms, p99 {figure(side.p99_ms)} ms")
    for ratio in result.ratios:
        say(f"  {ratio.what}: {times(ratio.median)} ({', '.join(times(each) for each in ratio.each)})")
    for curve in result.curves:
        for what, series in curve.panels.items():
            for name, values in series.items():
                told = ", ".join(f"{figure(value)} at {x}" for x, value in zip(curve.xs, values, strict=True))
                say(f"  {what}, {name}: {told}")
    for fact in result.facts:
        say(f"  {fact}")
    say(f"  took {figure(time.monotonic() - began)} s")
    return result


def peers() -> Any:
    """The package that compares with others: compare(rounds, say), section(result), charts(result, folder) -> paths.
    None where it is not there."""
    found = importlib.util.find_spec("bench.peers")
    return found and importlib.import_module("bench.peers")


async def run(given: argparse.Namespace) -> None:
    began, others = time.monotonic(), machine.others_seconds()
    plan = QUICK if given.quick else FULL
    now = datetime.fromtimestamp(system_clock() / 1_000_000, UTC)
    report = Report(plan, f"{now:%Y-%m-%d %H:%M} UTC", machine.describe())
    for what, told in report.machine.items():
        say(f"{what}: {told}")
    for workload in WORKLOADS:
        if not given.only or workload.name in given.only:
            report.results[workload.name] = await measure(workload, plan)
    elsewhere = (machine.others_seconds() - others) / (time.monotonic() - began)
    report.machine["other programs meanwhile"] = f"{figure(elsewhere)} cores, on average"
    say(f"other programs meanwhile: {report.machine['other programs meanwhile']}")
    compared = None if given.quick or given.without_peers or given.only else peers()
    if compared is not None:
        report.peers = await compared.compare(PEER_ROUNDS, say)
    report.minutes = (time.monotonic() - began) / 60
    if report.verdicts:
        say("\n".join(budget(report.verdicts, [key for key in LINES if key in report.verdicts or not given.only])))
    if not given.only or given.out:
        write(report, given.out or ROOT / "docs", compared)


def write(report: Report, out: Path, compared: Any) -> None:
    charts.draw(report, out / FOLDER)
    told = ""
    if compared is not None and report.peers is not None:
        drawn = [f"![{path.stem}]({FOLDER}/{path.name})" for path in compared.charts(report.peers, out / FOLDER)]
        told = "\n\n".join((compared.section(report.peers), *drawn))
    (out / "benchmarks.json").write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    (out / "benchmarks.md").write_text(page(report, told))
    say(f"written to {out / 'benchmarks.md'}, in {figure(report.minutes)} minutes")


if __name__ == "__main__":
    try:
        asyncio.run(run(options()))
    except LoadFailed as failed:
        sys.exit(f"nothing is written: {failed}")
