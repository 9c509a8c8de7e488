"""An ordinary hour: all strategies at once on the same threads."""

from bench.bench import Bench
from bench.calls.mixed import CALLS_EACH, KINDS
from bench.measured import Result, summed
from bench.workload import Workload

THREADS = 200


async def run(bench: Bench) -> Result:
    server = await bench.serve()
    result, windows = await bench.beside_echo("all of it", server, "mixed", 64, threads=THREADS)
    result.sides += [summed(kind, windows, server.memory_mib(), kind) for kind in KINDS]
    return result


WORKLOAD = Workload(
    "mixed",
    "A mixed load",
    f"""64 callers on {THREADS} threads, drawn at random: 70 % CreateRun (ENQUEUE) + JoinRun, and 10 % each CreateRun
    with REJECT, INTERRUPT and ROLLBACK, for the graph `echo`. After {CALLS_EACH} calls on a thread a new one takes its
    place. A turn whose run another caller superseded counts as answered, and so does a refusal.""",
    run,
)
