"""Reading runs."""

from bench.bench import Bench
from bench.measured import Result
from bench.workload import Workload, by_rate


async def run(bench: Bench) -> Result:
    result, _ = await bench.beside_echo("GetRun", await bench.serve(), "get", callers=64)
    result.verdicts.append(by_rate("get", result.sides, result.ratios[0]))
    return result


WORKLOAD = Workload(
    "get",
    "GetRun",
    """64 callers, one of 1 000 runs after the other.""",
    run,
    ("get",),
)
