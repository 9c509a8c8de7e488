"""What a workload has at hand: servers and load processes that end with it, and the loads in rounds."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.measured import Result, Window, interleave, ratio, summed
from bench.processes import Child, Load, Server

ECHO: Final = "bare echo"
GRAPHS: Final = Path(__file__).parent / "graphs.py"


@dataclass(frozen=True)
class Plan:
    """rounds   how often each side is measured
    seconds  how long each time
    calls    how many instead, where a thread or a line is to stay as long as it is
    warm     how long before the first time, uncounted
    """

    quick: bool
    rounds: int
    seconds: float
    calls: int
    warm: float


# Many short rounds rather than few long ones: what else the machine does comes and goes, and a median needs many.
FULL: Final = Plan(False, 9, 1.5, 10, 1.5)
QUICK: Final = Plan(True, 3, 0.5, 10, 0.3)


class Bench:
    """Of one workload. All that it starts is killed at the end, and its files are in `folder`."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.folder = folder
        self.say = say
        self._numbers = count()

    async def __aenter__(self) -> "Bench":
        self._stack = await AsyncExitStack().__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._stack.__aexit__(*raised)

    async def child(self, name: str, *arguments: str) -> Child:
        child = Child(self.folder / f"{name}-{next(self._numbers)}.log", *arguments)
        await child.start()
        self._stack.push_async_callback(child.end)
        return child

    async def echo(self) -> Server:
        child = await self.child("echo", "-m", "bench.echo")
        return Server(child.said.split()[-1], [child])

    async def serve(self, *graphs: str, db: Path | None = None, options: tuple[str, ...] = ()) -> Server:
        """`doubletext serve` on a new file or on `db`, with these graphs of graphs.py beside its own."""
        db = db or self.folder / f"{next(self._numbers)}.db"
        known = [word for name in graphs for word in ("--graphs", f"{GRAPHS}:{name}")]
        arguments = ("--listen", "127.0.0.1:0", "--db", str(db), *known, *options)
        child = await self.child("server", "-m", "doubletext", "serve", *arguments)
        return Server(child.said.split()[-1], [child], db)

    async def worker(self, server: Server, *graphs: str, slots: int) -> None:
        """`doubletext worker` for the server, with which its CPU time and memory are counted from now on."""
        known = [word for name in graphs for word in ("--graphs", f"{GRAPHS}:{name}")]
        arguments = ("--connect", server.address, "--slots", str(slots), *known)
        child = Child(self.folder / f"worker-{next(self._numbers)}.log", "-m", "doubletext", "worker", *arguments)
        await child.start(waits=False)
        self._stack.push_async_callback(child.end)
        server.children.append(child)

    async def load(self, server: Server, call: str, **options: Any) -> Load:
        return Load(await self.child("load", "-m", "bench.load", server.address, call, json.dumps(options)), server)

    async def rounds(self, sides: Mapping[str, Load], callers: int, **until: float) -> dict[str, list[Window]]:
        """Load each side, one after the other, round by round, for the plan's time or `until` (seconds, calls)."""
        until = until or {"seconds": self.plan.seconds}

        def measure(load: Load) -> Callable[[], Awaitable[Window]]:
            return lambda: load.window(callers, **until)  # type: ignore[arg-type]

        return await interleave(
            self.plan.rounds,
            {name: measure(load) for name, load in sides.items()},
            lambda name: sides[name].window(callers, **({**until, "seconds": self.plan.warm})),  # type: ignore[arg-type]
        )

    async def beside_echo(self, name: str, server: Server, call: str, callers: int, **options: Any) -> "BesideEcho":
        """One kind of call beside the bare server: calls per second, p50 and CPU time with their ratios."""
        echo = await self.load(await self.echo(), "echo")
        ours = await self.load(server, call, **options)
        measured = await self.rounds({ECHO: echo, name: ours}, callers)
        pair = measured[name], measured[ECHO]
        ratios = [
            ratio("calls per second", *pair, lambda window: window.rate),
            ratio("p50", *pair, lambda window: window.p50()),
            ratio("CPU of the server per call", *pair, lambda window: window.cpu / window.calls),
        ]
        sides = [
            summed(ECHO, measured[ECHO], echo.server.memory_mib()),
            summed(name, measured[name], server.memory_mib()),
        ]
        return BesideEcho(Result(sides, ratios), measured[name])


class BesideEcho(NamedTuple):
    """`windows`: ours, for those that want to know more of them."""

    result: Result
    windows: list[Window]
