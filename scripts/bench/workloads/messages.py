"""Long conversations: what a turn takes on them."""

from bench.bench import Bench
from bench.measured import Curve, Result, Verdict, ratio, summed
from bench.planted import Group, plant
from bench.text import counted, figure
from bench.workload import Workload

LENGTHS = [10, 100, 1000, 10_000]
ENOUGH = 20_000
"""Messages: there are so many threads of a length that they have these together, but no more than 200 and no less than
4, so that no thread grows much by the turns that are measured."""


async def run(bench: Bench) -> Result:
    groups = {
        length: Group(f"long-{length}", number, min(max(ENOUGH // length, 4), 200), length // 2)
        for number, length in enumerate(LENGTHS, 1)
    }
    server = await bench.serve("three_steps", db=plant(bench.folder / "long.db", *groups.values()))
    loads = {
        counted(length): await bench.load(
            server, "turn_on", threads=[group.thread_id(n) for n in range(1, group.threads + 1)], graph="three_steps"
        )
        for length, group in groups.items()
    }
    measured = await bench.rounds(loads, 1, calls=2 * bench.plan.calls)
    sides = [summed(f"{name} messages", windows, server.memory_mib()) for name, windows in measured.items()]
    shortest, longest = measured[counted(LENGTHS[0])], measured[counted(LENGTHS[-1])]
    p50 = ratio(
        f"p50, {counted(LENGTHS[-1])} messages beside {LENGTHS[0]}", longest, shortest, lambda window: window.p50()
    )
    told = f"{figure(sides[-1].p50_ms)} ms; on a thread of {LENGTHS[0]} {figure(sides[0].p50_ms)} ms"
    panels = {"p50 of a turn, ms": {"create, three steps, wait": [side.p50_ms for side in sides]}}
    return Result(
        sides,
        [p50],
        [Curve("messages", "A turn, by the length of the conversation", "messages on the thread", LENGTHS, panels)],
        [Verdict("messages", p50.median, told)],
    )


WORKLOAD = Workload(
    "messages",
    "Long conversations",
    """One caller. A turn: CreateRun for a graph that makes three steps in the server and does not look at the state,
    then WatchRun until the event that makes the run final. WatchRun, because JoinRun's answer brings the state
    along, which is as large as the conversation. The conversations (one message a step) were planted
    beforehand, many of each length, so that the turns that are measured leave them about as long as they were.""",
    run,
    ("messages",),
)
