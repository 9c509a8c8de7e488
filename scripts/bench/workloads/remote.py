"""Who executes the graph: the server itself, or workers that claim runs over gRPC."""

from bench.bench import Bench
from bench.measured import Result, ratio, summed
from bench.workload import Workload


async def run(bench: Bench) -> Result:
    servers = {"in the server": await bench.serve("one_step"), "one worker": await bench.serve()}
    servers["two workers"] = await bench.serve()
    for name, workers in (("one worker", 1), ("two workers", 2)):
        for _ in range(workers):
            await bench.worker(servers[name], "one_step", slots=64)
    loads = {name: await bench.load(server, "turn", assistant_id="one_step") for name, server in servers.items()}
    measured = await bench.rounds(loads, 64)
    inside = measured["in the server"]
    return Result(
        [summed(name, windows, servers[name].memory_mib()) for name, windows in measured.items()],
        [
            ratio(f"calls per second, {name} beside the server itself", windows, inside, lambda window: window.rate)
            for name, windows in measured.items()
            if name != "in the server"
        ],
    )


WORKLOAD = Workload(
    "remote",
    "Remote Python workers",
    """The turn of before with a graph of one step, executed by the server itself, by one `doubletext worker` process
    of 64 slots, and by two of them. CPU and memory are the server's and its workers' together.""",
    run,
)
