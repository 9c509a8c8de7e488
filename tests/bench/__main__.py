"""Measure, and write what was measured: `./scripts/bench [--quick] [--only NAME …] [--out DIR] [--without-peers]`."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bench import FULL, QUICK, Bench, Plan
from tests.bench.budget import LINES
from tests.bench.measured import Result
from tests.bench.text import figure, times
from tests.bench.workload import Workload
from tests.bench.workloads import WORKLOADS


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def measure(workload: Workload, plan: Plan) -> Result:
    began = time.monotonic()
    say(f"{workload.name}: {workload.title}")
    with tempfile.TemporaryDirectory(prefix="doubletext-bench-") as folder:
        async with Bench(plan, Path(folder), say) as bench:
            result = await workload.run(bench)
    assert {verdict.key for verdict in result.verdicts} == set(workload.lines)
    for side in result.sides:
        say(
            f"  {side.name}: {figure(side.rate)} calls/s, p50 {figure(side.p50_ms)} ms, p99 {figure(side.p99_ms)} ms, "
            f"{figure(side.cpu_us_per_call)} µs CPU per call, peak {figure(side.peak_mib)} MiB"
        )
    for ratio in result.ratios:
        say(f"  {ratio.what}: {times(ratio.median)} ({', '.join(times(each) for each in ratio.each)})")
    for verdict in result.verdicts:
        line = LINES[verdict.key]
        say(
            f"  {line.what}: {verdict.measured}; {figure(verdict.value)}, budget {line.budget}: "
            f"{'met' if line.met(verdict.value) else 'missed'}"
        )
    say(f"  took {figure(time.monotonic() - began)} s")
    return result


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], choices=[each.name for each in WORKLOADS])
    arguments = parser.parse_args()
    for workload in WORKLOADS:
        if not arguments.only or workload.name in arguments.only:
            await measure(workload, QUICK if arguments.quick else FULL)


if __name__ == "__main__":
    asyncio.run(main())
