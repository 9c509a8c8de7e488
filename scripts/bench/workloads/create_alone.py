"""Accepting one run at a time: what a caller waits for when nobody shares its commit."""

from bench.bench import Bench
from bench.measured import Result
from bench.workload import Workload, by_p50


async def run(bench: Bench) -> Result:
    result, _ = await bench.beside_echo("CreateRun", await bench.serve(), "create", callers=1)
    result.verdicts.append(by_p50("create alone", result.sides, result.ratios[1]))
    return result


WORKLOAD = Workload(
    "create_alone",
    "CreateRun, one caller",
    """The same with one caller: each call is a commit of its own, with an fsync that nobody shares.""",
    run,
    ("create alone",),
)
