"""One crash point tried out: the script against a server that ends there, a server that comes back, and the verdict."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from doubletext.errors import Unavailable
from tests.robustness.failpoints.launcher import Order
from tests.robustness.failpoints.points import HERE, Launcher, Point
from tests.robustness.traffic.recording_client import Caller, Once, Told
from tests.robustness.traffic.script import OPTIONS, play
from tests.robustness.validate.after_crash import judge_server, unsound

SECONDS: Final = 30
GRAPHS: Final = ("--graphs", f"{HERE / 'graphs.py'}:held")


@dataclass
class Trial:
    """counts  of a server that was not disturbed; None where it crashed
    calls   how many the server answered before
    open    the call that it did not answer
    """

    wrong: list[str]
    counts: dict[str, int] | None = None
    calls: int = 0
    open: str = ""


async def attempt(launcher: Launcher, db: Path, point: Point | None, synchronous: str = "FULL") -> Trial:
    """Try the point on a new file; None for the script undisturbed. `synchronous`: a fault, unless FULL."""
    trial = Trial([])
    told = Told()
    try:
        async with asyncio.timeout(SECONDS):
            await disturbed(launcher, order(db, point, synchronous), told, trial)
            trial.calls, trial.open = told.calls, repr(told.open or "")[:200]
            await restarted(launcher, db, told, trial)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is the point's
        trial.wrong.append(f"{type(error).__name__}: {error}")
    return trial


async def disturbed(launcher: Launcher, doomed: Order, told: Told, trial: Trial) -> None:
    async with launcher.server(doomed) as server:
        if not await server.start():
            return
        async with Once(server.address) as client, Caller(client, told) as caller:
            try:
                await play(caller)
            except Unavailable:
                await server.gone()
            else:
                await server.end(signal.SIGTERM)
        trial.counts = server.counts


async def restarted(launcher: Launcher, db: Path, told: Told, trial: Trial) -> None:
    async with launcher.server(plain(db)) as server:
        assert await server.start(), "it does not come back"
        async with Once(server.address) as client:
            await judge_server(client, told, db, trial.wrong)
        await server.end(signal.SIGTERM)
        assert server.counts is not None, "it does not stop in order"
    trial.wrong += [*unsound(db), *remains(db, told)]


def plain(db: Path) -> Order:
    return Order(str(db), str(db.with_suffix(".log")), (*GRAPHS, *OPTIONS))


def order(db: Path, point: Point | None, synchronous: str) -> Order:
    doomed = replace(plain(db), hold=True, synchronous=synchronous)
    return doomed if point is None else replace(doomed, kind=point.kind, mode=point.mode, at=point.at)


def remains(db: Path, told: Told) -> Iterator[str]:
    """What is left in the file of runs that were rolled back and of threads that were deleted."""
    file = db.read_bytes()
    for thread in told.threads.values():
        for run_id, text in thread.runs.items():
            if (thread.deleted or thread.ends.get(run_id, ("",))[0] == "deleted") and text.encode() in file:
                yield f"the file still has {text} of run {run_id}, which was deleted"
