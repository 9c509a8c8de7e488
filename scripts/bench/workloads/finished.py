"""A file in which much has been finished."""

from time import perf_counter

from bench.bench import Bench
from bench.measured import Curve, Result, Verdict, ratio, summed
from bench.planted import Group, plant
from bench.text import counted, figure
from bench.workload import Workload

RUNS_EACH = 10
LARGE = 1_000_000
LESS = 20_000
"""What --quick makes do with."""
OLD = "the most, on its old threads"


async def run(bench: Bench) -> Result:
    runs = [0, 1000, LESS] if bench.plan.quick else [0, 1000, 10_000, 100_000, LARGE]
    servers = {}
    for number in runs:
        began = perf_counter()
        db = plant(bench.folder / f"{number}.db", Group("old", 1, number // RUNS_EACH, RUNS_EACH))
        took, size = perf_counter() - began, db.stat().st_size / 2**20
        bench.say(f"  planted {counted(number)} finished runs in {figure(took)} s: {figure(size)} MiB")
        servers[number] = await bench.serve(db=db)
    loads = {counted(number): await bench.load(server, "create") for number, server in servers.items()}
    old = [Group("old", 1, 0).thread_id(number) for number in range(1, runs[-1] // RUNS_EACH, 97)]
    loads[OLD] = await bench.load(servers[runs[-1]], "create", threads=old)
    measured = await bench.rounds(loads, 1)
    empty, full = measured[counted(0)], measured[counted(runs[-1])]
    sides = [summed(name, windows, loads[name].server.memory_mib()) for name, windows in measured.items()]
    p50 = ratio(f"p50, {counted(runs[-1])} finished runs beside none", full, empty, lambda window: window.p50())
    told = f"{figure(sides[len(runs) - 1].p50_ms)} ms with {counted(runs[-1])}; {figure(sides[0].p50_ms)} ms with none"
    panels = {"p50 of CreateRun, ms": {"on a new thread": [side.p50_ms for side in sides[: len(runs)]]}}
    return Result(
        sides,
        [p50, ratio(f"p50, {OLD}, beside none", measured[OLD], empty, lambda window: window.p50())],
        [Curve("finished", "CreateRun, by what has been finished", "finished runs in the file", runs, panels)],
        [Verdict("finished", p50.median, told)],
    )


WORKLOAD = Workload(
    "finished",
    "Finished runs in the file",
    f"""One caller, CreateRun on new threads, in files with so many finished runs: {RUNS_EACH} on each thread, each with
    its two steps and five events, planted beforehand. The last row is CreateRun on the threads of the largest
    file, far from one another.""",
    run,
    ("finished",),
)
