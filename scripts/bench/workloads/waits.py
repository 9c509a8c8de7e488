"""How long one thing waits for another."""

from bench.bench import Bench
from bench.calls.waits import GAP, IN_LINE
from bench.measured import Result, Verdict, summed
from bench.text import figure
from bench.workload import Workload

SIDES = {
    # line       what the table calls it                       call
    "next": ("finish → the next in line starts", "next_in_line", {}),
    "interrupt": ("INTERRUPT → the successor starts", "superseded", {"strategy": "INTERRUPT"}),
    "rollback": ("ROLLBACK → the successor starts", "superseded", {"strategy": "ROLLBACK"}),
    "joined": ("finish → the joiner is answered", "joined", {}),
}


async def run(bench: Bench) -> Result:
    server = await bench.serve("stamped", "cooperative")
    loads = {key: await bench.load(server, call, **options) for key, (_, call, options) in SIDES.items()}
    measured = await bench.rounds(loads, 1)
    result = Result()
    for key, windows in measured.items():
        side = summed(SIDES[key][0], windows, server.memory_mib(), GAP, paced=True)
        result.sides.append(side)
        result.verdicts.append(Verdict(key, side.p50_ms, f"{figure(side.p50_ms)} ms; p99 {figure(side.p99_ms)} ms"))
    return result


WORKLOAD = Workload(
    "waits",
    "Waiting",
    f"""One caller, new threads. Graphs take down their first and last moment; all moments are CLOCK_MONOTONIC, which is
    one clock for all processes of a machine. *Next in line*: from a graph's return to the first line of the
    next one's code, in a line of {IN_LINE} runs. *Successor*: a run that sleeps is superseded; from the sending
    of that CreateRun to the first line of the new run's code, which includes the call itself, the stop of the
    old run and its acknowledgement. *Joiner*: from the graph's return to JoinRun's answer at the client, which
    includes the commit that makes the run final.""",
    run,
    tuple(SIDES),
)
