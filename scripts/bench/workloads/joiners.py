"""Many who wait: what they cost, and what they cost the others."""

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from bench.bench import Bench
from bench.measured import Result, Verdict, ratio, summed
from bench.peers.servers import free_port
from bench.text import counted, figure
from bench.workload import Workload

MANY, FEWER = 10_000, 2000


async def run(bench: Bench) -> Result:
    count = FEWER if bench.plan.quick else MANY
    metrics = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    without, beside = [await bench.serve(options=("--metrics", address)) for address in metrics]
    # Both have the runs; those of one are joined.
    bench.say(f"  {counted(count)} runs on each of two servers")
    await bench.load(without, "joiners", count=count)
    joiners = await bench.load(beside, "joiners", count=count)
    before = beside.memory_mib("VmRSS")
    await joiners.window(1, calls=count)
    await _all_wait(metrics[1], count)
    each = (beside.memory_mib("VmRSS") - before) * 1024 / count
    names = ("nobody waits", f"{counted(count)} wait")
    loads = {name: await bench.load(server, "create") for name, server in zip(names, (without, beside), strict=True)}
    measured = await bench.rounds(loads, 1)
    await _all_wait(metrics[1], count)
    sides = [summed(name, windows, loads[name].server.memory_mib()) for name, windows in measured.items()]
    idle, busy = measured.values()
    p50 = ratio("p50 of CreateRun, beside joiners and without", busy, idle, lambda window: window.p50())
    told = f"{figure(sides[1].p50_ms)} ms beside {counted(count)}; {figure(sides[0].p50_ms)} ms without"
    verdicts = [
        Verdict("joiners", each, f"{figure(each)} KiB each of {counted(count)}"),
        Verdict("beside joiners", p50.median, told),
    ]
    return Result(sides, [p50], verdicts=verdicts)


async def _all_wait(metrics: str, count: int) -> None:
    """Until the server says that so many joiners are waiting."""
    waiting = 0.0
    while waiting < count:
        waiting = await asyncio.to_thread(_joiners, metrics)
        await asyncio.sleep(0.1)


def _joiners(metrics: str) -> float:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return next(
        sample.value
        for family in families
        for sample in family.samples
        if (sample.name, sample.labels) == ("doubletext_waiting", {"kind": "joiners"})
    )


WORKLOAD = Workload(
    "joiners",
    "Those who wait",
    """JoinRun calls on as many runs that do not end, from one process over one connection. Their memory is the growth
    of the server's resident memory from before the first of them to when its metrics say that all are waiting.
    Then one caller's CreateRun, in turns on that server and on another that has the same runs and nobody
    waiting.""",
    run,
    ("joiners", "beside joiners"),
)
