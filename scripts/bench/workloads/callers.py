"""From one caller to many."""

from bench.bench import ECHO, Bench
from bench.measured import Curve, Result, ratio, summed
from bench.workload import Workload

CALLERS = [1, 4, 16, 64, 256]


async def run(bench: Bench) -> Result:
    echo, ours = await bench.echo(), await bench.serve()
    loads = {ECHO: await bench.load(echo, "echo"), "CreateRun": await bench.load(ours, "create")}
    rates: dict[str, list[float]] = {name: [] for name in loads}
    p50s: dict[str, list[float]] = {name: [] for name in loads}
    ratios = []
    for callers in CALLERS:
        bench.say(f"  {callers} callers")
        measured = await bench.rounds(loads, callers, seconds=bench.plan.seconds / 2)
        for name, windows in measured.items():
            side = summed(name, windows, loads[name].server.memory_mib())
            rates[name].append(side.rate)
            p50s[name].append(side.p50_ms)
        ratios.append(ratio("", measured["CreateRun"], measured[ECHO], lambda window: window.rate).median)
    panels = {
        "calls per second": rates,
        "p50, ms": p50s,
        "calls per second, ratio": {"CreateRun ÷ bare echo": ratios},
    }
    return Result(curves=[Curve("callers", "CreateRun, by callers", "callers", CALLERS, panels)])


WORKLOAD = Workload(
    "callers",
    "From one caller to many",
    """CreateRun on distinct threads beside the bare server, as above, by how many call at once.""",
    run,
)
