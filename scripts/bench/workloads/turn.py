"""The whole way of a message: accepted, executed, answered."""

from bench.bench import Bench
from bench.measured import Result
from bench.workload import Workload, by_rate


async def run(bench: Bench) -> Result:
    result, _ = await bench.beside_echo("CreateRun + JoinRun", await bench.serve(), "turn", callers=64)
    result.verdicts.append(by_rate("turn", result.sides, result.ratios[0]))
    return result


WORKLOAD = Workload(
    "turn",
    "CreateRun + JoinRun to SUCCESS",
    """64 callers, each turn on a new thread: CreateRun for the graph `echo`, which the server executes itself (one
    step), then JoinRun, which answers with the thread's state. A turn counts as one call.""",
    run,
    ("turn",),
)
