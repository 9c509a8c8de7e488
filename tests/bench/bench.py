"""What a workload has at hand: servers and load processes that end with it, and the loads in rounds."""

import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.bench.measured import Result, Window, interleave, ratio, summed
from tests.bench.processes import Child, Load, Server

GRAPHS: Final = Path(__file__).parent / "graphs.py"


@dataclass(frozen=True)
class Plan:
    """rounds   how often each side is measured
    seconds  how long each time
    warm     how long before the first time, uncounted
    """

    quick: bool
    rounds: int
    seconds: float
    warm: float


# Many short rounds rather than few long ones: what else the machine does comes and goes, and a median needs many.
FULL: Final = Plan(False, 9, 1.5, 1.5)
QUICK: Final = Plan(True, 3, 0.6, 0.4)


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
        child = await self.child("echo", "-m", "tests.bench.echo")
        return Server(child.said.split()[-1], [child])

    async def serve(self, *graphs: str, db: Path | None = None, options: tuple[str, ...] = ()) -> Server:
        """`doubletext serve` on a new file or on `db`, with these graphs of graphs.py beside its own."""
        db = db or self.folder / f"{next(self._numbers)}.db"
        known = [word for name in graphs for word in ("--graphs", f"{GRAPHS}:{name}")]
        arguments = ("--listen", "127.0.0.1:0", "--db", str(db), *known, *options)
        child = await self.child("server", "-m", "server", "serve", *arguments)
        return Server(child.said.split()[-1], [child], db)

    async def load(self, server: Server, call: str, **options: Any) -> Load:
        return Load(
            await self.child("load", "-m", "tests.bench.load", server.address, call, json.dumps(options)), server
        )

    async def rounds(self, sides: Mapping[str, Load], callers: int) -> dict[str, list[Window]]:
        """Load each side for a while, one after the other, round by round."""
        return await interleave(
            self.plan.rounds,
            {name: lambda load=load: load.window(callers, self.plan.seconds) for name, load in sides.items()},  # type: ignore[misc]
            lambda name: sides[name].window(callers, self.plan.warm),
        )

    async def beside_echo(self, name: str, server: Server, call: str, callers: int, **options: Any) -> Result:
        """One kind of call beside the bare server: calls per second and p50 with their ratios."""
        sides = {
            "bare echo": await self.load(await self.echo(), "echo"),
            name: await self.load(server, call, **options),
        }
        measured = await self.rounds(sides, callers)
        echo, ours = measured["bare echo"], measured[name]
        return Result(
            [summed(side, windows, sides[side].server.memory_mib()) for side, windows in measured.items()],
            [
                ratio("calls per second", ours, echo, lambda window: window.rate),
                ratio("p50", ours, echo, lambda window: window.p50()),
                ratio("CPU of the server per call", ours, echo, lambda window: window.cpu / window.calls),
            ],
        )
