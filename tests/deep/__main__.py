"""Play cases one after another, each with a server of its own; exits 1 if one is wrong.

python -m tests.deep reports                     all of them
python -m tests.deep attacks 5_unread_states     some
"""

import asyncio
import sys
import tempfile
import time
import traceback
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.deep.attacks import ATTACKS
from tests.deep.place import Case, Cases, Place, Seen
from tests.deep.reports import REPORTS

KINDS: Final[dict[str, Cases]] = {"reports": REPORTS, "attacks": ATTACKS}
SECONDS: Final = 240
"""For one case."""


async def play(case: Case) -> Seen:
    with tempfile.TemporaryDirectory(prefix="doubletext-deep-") as folder:
        async with AsyncExitStack() as ends:
            try:
                async with asyncio.timeout(SECONDS):
                    return await case.play(Place(Path(folder), ends))
            except Exception as error:  # noqa: BLE001 - one case never ends the others
                last = traceback.extract_tb(error.__traceback__)
                where = next((frame for frame in reversed(last) if "tests/deep" in frame.filename), last[-1])
                return Seen(False, f"{type(error).__name__} in line {where.lineno}: {str(error)[:300]}")


async def main(kind: str, names: list[str]) -> int:
    cases = KINDS[kind]
    if strange := set(names) - set(cases):
        sys.stderr.write(f"no such case: {', '.join(sorted(strange))}; there are {', '.join(cases)}\n")
        return 2
    wrong = 0
    for name in names or cases:
        began = time.monotonic()
        seen = await play(cases[name])
        wrong += not seen.right
        verdict = "right" if seen.right else "WRONG"
        sys.stdout.write(f"{verdict} {name} ({time.monotonic() - began:.0f} s)\n  now:  {seen.figure}\n")
        sys.stdout.write(f"  then: {cases[name].then}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(names or cases)} cases, {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.stderr.write(f"usage: python -m tests.deep {'|'.join(KINDS)} [CASE ...]\n")
        sys.exit(2)
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
