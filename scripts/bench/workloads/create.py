"""Accepting runs, as fast as they come."""

from bench.bench import Bench
from bench.measured import Result
from bench.workload import Workload, by_rate


async def run(bench: Bench) -> Result:
    result, _ = await bench.beside_echo("CreateRun", await bench.serve(), "create", callers=64)
    result.verdicts.append(by_rate("create", result.sides, result.ratios[0]))
    return result


WORKLOAD = Workload(
    "create",
    "CreateRun on distinct threads",
    """64 callers, each call a new thread (`IF_THREAD_NOT_EXISTS_CREATE`), for a graph that nobody executes: each run
    is accepted, is on disk, and stays pending.""",
    run,
    ("create",),
)
