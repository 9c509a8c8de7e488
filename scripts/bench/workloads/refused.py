"""Saying no."""

from bench.bench import Bench
from bench.measured import Result
from bench.workload import Workload, by_rate


async def run(bench: Bench) -> Result:
    result, _ = await bench.beside_echo("CreateRun, refused", await bench.serve(), "refused", callers=64)
    result.verdicts.append(by_rate("refused", result.sides, result.ratios[0]))
    return result


WORKLOAD = Workload(
    "refused",
    "CreateRun refused by REJECT",
    """64 callers on 64 threads that are busy: each call is answered with ALREADY_EXISTS and its details, and nothing
    is written. Reading the error is part of it, on the callers' side too.""",
    run,
    ("refused",),
)
