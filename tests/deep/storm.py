"""Storms of ten seconds each, for as many minutes as asked for: `python -m tests.deep.storm 10`."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.robustness.storm import Storm


async def main(minutes: float) -> int:
    until, seed, runs, kills, steered, wrong = time.monotonic() + minutes * 60, 0, 0, 0, 0, 0
    while time.monotonic() < until:
        seed += 1
        with tempfile.TemporaryDirectory(prefix="doubletext-storm-") as folder:
            storm = Storm(Path(folder) / "storm.db", seed, 10)
            found = await storm.play()
        runs, kills = runs + len(storm.tags), kills + storm.kills
        steered, wrong = steered + storm.steered, wrong + len(found)
        for each in found:
            sys.stdout.write(f"seed {seed}: {each}\n")
    sys.stdout.write(f"{seed} storms, {runs} runs, {steered} that steered, {kills} kills, {wrong} violations\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]))))
