"""Callers, workers, watchers and a killer let loose on a server, round after round, and all that clients saw is judged.

    scripts/soak --minutes 60 --seed 1     for as long as that
    scripts/soak --seed 1 --round 7        the seventh round of that seed alone
    scripts/soak --poison                  beside graphs that exit, fork, block and crash, in the server and in a worker
    scripts/soak --judge FILE              a history that was kept, once more

A round has a database, threads and a history of its own; those of a good round are deleted. Exits 1 when something was
wrong, and says where the history and the database are.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.robustness.round import Tally, play

ROUND_SECONDS: Final = 50
MOST_BAD_ROUNDS: Final = 3


async def judged(history: Path) -> list[str]:
    """The judge's findings, from a process of its own, whose memory is gone with it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.robustness.validate.history", str(history)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    lines = said.decode().splitlines()
    if process.returncode not in (0, 1) or not lines or not lines[-1].startswith("violations "):
        return ["the judge failed: " + "\n".join(lines[-20:])]
    return lines[:-1]


async def one_round(seed: int, number: int, seconds: float, folder: Path, *, poison: bool = False) -> Tally:
    tally = await play(seed, number, seconds, folder, poison=poison)
    tally.wrong += await judged(folder / "history.jsonl")
    return tally


async def soak(seed: int, minutes: float, only: int | None, folder: Path, *, poison: bool) -> Tally:
    tally, bad, number = Tally(), 0, only or 1
    end = time.monotonic() + minutes * 60
    while True:
        place = folder / f"round-{number}"
        place.mkdir()
        found = await one_round(seed, number, ROUND_SECONDS, place, poison=poison)
        tally.add(found)
        say(f"round {number}: {sum(found.calls.values())} calls, {sum(found.harm.values())} times harm, ", found, place)
        bad += bool(found.wrong)
        if not found.wrong:
            shutil.rmtree(place)
        number += 1
        if only is not None or time.monotonic() > end or bad == MOST_BAD_ROUNDS:
            return tally


def say(what: str, found: Tally, place: Path) -> None:
    kept = f", kept in {place}" if found.wrong else ""
    lines = [f"{what}{len(found.wrong)} violations{kept}", *found.wrong[:10]]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="1 unless given; rounds are finished")
    parser.add_argument("--seed", type=int, default=1, help="1 unless given")
    parser.add_argument("--round", type=int, help="this round alone")
    parser.add_argument("--poison", action="store_true", help="graphs that harm their process run beside it")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge this history, and play nothing")
    given = parser.parse_args()
    if given.judge is not None:
        lines = asyncio.run(judged(given.judge))
        sys.stdout.write("".join(f"{line}\n" for line in (*lines, f"violations {len(lines)}")))
        return 1 if lines else 0
    folder = Path(tempfile.mkdtemp(prefix="doubletext-soak-"))
    tally = asyncio.run(soak(given.seed, given.minutes, given.round, folder, poison=given.poison))
    sys.stdout.write("".join(f"{line}\n" for line in (f"seed {given.seed}", *tally.lines())))
    if tally.wrong:
        sys.stdout.write(f"the histories and databases of bad rounds are left in {folder}\n")
        return 1
    folder.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
