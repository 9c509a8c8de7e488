"""A thread with a long line of runs."""

from bench.bench import Bench
from bench.measured import Curve, Result, percentile, pool
from bench.planted import Group, plant
from bench.workload import Workload

SERIES = ("CommitStep", "CreateRun", "finish to next start")


async def run(bench: Bench) -> Result:
    queued = [1, 10, 100, 1000] if bench.plan.quick else [1, 10, 100, 1000, 10_000]
    groups = [
        Group(f"line-{length}", number, 1, queued=length + 1, assistant=f"line-{length}")
        for number, length in enumerate(queued, 1)
    ]
    db = plant(bench.folder / "lines.db", *groups)
    # The lease is not renewed here, and outlasts the others' turns.
    server = await bench.serve(db=db, options=("--lease", "3600"))
    loads = {
        group.name: await bench.load(server, "queue", thread_id=group.thread_id(1), graph=group.assistant)
        for group in groups
    }
    measured = await bench.rounds(loads, 1, calls=bench.plan.calls)
    p50s = {
        series: [1000 * percentile(pool(windows, series), 0.5) for windows in measured.values()] for series in SERIES
    }
    facts = [
        f"{series}: {p50[-1] / p50[0]:.2f} × as long behind {queued[-1]} runs as behind {queued[0]}."
        for series, p50 in p50s.items()
    ]
    curve = Curve("queued", "A thread with runs in line", "runs in line", queued, {"p50, ms": p50s})
    return Result(curves=[curve], facts=facts)


WORKLOAD = Workload(
    "queued",
    "Runs in line on a thread",
    """One caller, who is the worker too (the line's graph is executed by nobody else): CommitStep of the running run,
    CreateRun (ENQUEUE) at the end of the line, and from the sending of FinishRun to the answer of the ClaimRun
    that was waiting for the next run. The line stays as long as it was; all lines are in one file, planted
    beforehand.""",
    run,
)
