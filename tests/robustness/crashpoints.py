"""Every crash point, one after the other, until the script passes undisturbed.

    scripts/crashpoints [--kind write] [--mode torn] [--from 1] [--to 100000] [--stride 1] [--at-once 2]

Prints a line for each kind and mode, and each violation with the point that shows it; `--kind write --mode torn
--from 7 --to 7` plays that point again. Exits 1 when there was one, and leaves those databases.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.robustness.failpoints.points import MODES, CannotCompile, Launcher, Point, compile_failpoint, launcher
from tests.robustness.failpoints.trial import Trial, attempt

FAR: Final = 100_000


@dataclass
class Plan:
    kind: str = ""
    mode: str = ""
    first: int = 1
    to: int = FAR
    stride: int = 1
    at_once: int = 2


@dataclass
class Row:
    """What came of one kind and mode. `points`: at which the server crashed."""

    points: int = 0
    seconds: float = 0
    violations: dict[str, list[str]] = field(default_factory=dict)


class Tour:
    def __init__(self, plan: Plan, launcher: Launcher, folder: Path) -> None:
        self._plan = plan
        self._launcher = launcher
        self._folder = folder
        self._over = False

    async def mode(self, kind: str, mode: str, least: int) -> Row:
        """Try the points of a kind and mode, `least` of them at any rate: some writes come sooner or later."""
        row, began = Row(), time.perf_counter()
        points = iter(range(self._plan.first, self._plan.to + 1, self._plan.stride))
        self._over = False

        async def one_after_the_other() -> None:
            for at in points:
                if self._over:
                    return
                trial = await self._point(Point(kind, mode, at), row)
                self._over = self._over or (trial.counts is not None and at > least)

        await asyncio.gather(*(one_after_the_other() for _ in range(self._plan.at_once)))
        row.seconds = time.perf_counter() - began
        return row

    async def _point(self, point: Point, row: Row) -> Trial:
        folder = self._folder / str(point).replace("/", "-")
        folder.mkdir()
        trial = await attempt(self._launcher, folder / "crash.db", point)
        row.points += trial.counts is None
        if trial.wrong:
            row.violations[str(point)] = trial.wrong
            say(f"{point}, after {trial.calls} calls, in {trial.open or 'none'}:")
            for each in trial.wrong[:10]:
                say(f"    {each}")
        else:
            shutil.rmtree(folder)
        return trial


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def tour(plan: Plan, launcher: Launcher, folder: Path) -> int:
    """Returns how many violations there are."""
    undisturbed = await attempt(launcher, folder / "undisturbed.db", None)
    assert undisturbed.counts is not None, undisturbed.wrong
    say(f"undisturbed: {undisturbed.counts}, {len(undisturbed.wrong)} violations")
    say(f"{'kind':8}{'mode':8}{'points':>8}{'seconds':>9}{'violations':>12}")
    found, points = len(undisturbed.wrong), 0
    for kind, modes in MODES.items():
        for mode in modes:
            if plan.kind in ("", kind) and plan.mode in ("", mode):
                row = await Tour(plan, launcher, folder).mode(kind, mode, undisturbed.counts[kind])
                say(f"{kind:8}{mode:8}{row.points:8}{row.seconds:9.0f}{len(row.violations):12}")
                found += len(row.violations)
                points += row.points
    say(f"{points} points, {found} violations")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {"first": "--from"}
    for name, value in vars(Plan()).items():
        option = names.get(name, f"--{name.replace('_', '-')}")
        parser.add_argument(option, dest=name, type=type(value), default=value)
    plan = Plan(**vars(parser.parse_args()))
    folder = Path(tempfile.mkdtemp(prefix="doubletext-crash-"))
    try:
        with launcher(compile_failpoint(folder)) as made:
            found = asyncio.run(tour(plan, made, folder))
    except CannotCompile as error:
        sys.exit(str(error))
    if found:
        sys.exit(f"the databases are left in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
