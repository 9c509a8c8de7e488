"""Plants each bug in a copy of this checkout, runs the tests there, and tells which of them found it.

    scripts/mutants [--only WORD]

Tests are run until the first that fails: those of single functions before those that start servers. Exits 1 when a bug
survives: then a test is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final

from tests.mutants.mutations import MUTANTS, ROOT, Mutant, known_points

LEFT_OUT: Final = shutil.ignore_patterns(".git", ".venv", ".bench", "*cache*", "node_modules")
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
SOME_TESTS_FAILED: Final = 1
"""pytest's exit code for that; with any other one, nothing was found out."""
LONGEST: Final = 1200.0
FIRST: Final = ("unit", "contract", "rpc", "worker", "robustness", "model")


def folders(root: Path) -> list[str]:
    """The folders of tests, those first that find most in the least time."""
    there = [each.name for each in (root / "tests").iterdir() if list(each.rglob("test_*.py"))]
    rest = sorted(name for name in there if name not in FIRST and name != "mutants")
    return [f"tests/{name}" for name in FIRST if name in there] + [f"tests/{name}" for name in rest]


def found_by(mutant: Mutant, copy: Path) -> str | None:
    """The test that fails with the bug in the copy, None when all pass. Raises RuntimeError when they can't be run."""
    file, text = mutant.planted(known_points(copy))
    sound = file.read_text("utf-8")
    file.write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *folders(copy)]
    # Before the checkout's own packages, which an editable install puts on the path.
    path = os.pathsep.join(str(folder) for folder in (copy, copy / "server", copy / "statemachine"))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    finally:
        file.write_text(sound, "utf-8")
    if done.returncode == 0:
        return None
    names = FAILED.findall(done.stdout)
    if done.returncode != SOME_TESTS_FAILED or not names:
        raise RuntimeError(f"with {mutant.what!r} planted, the tests cannot be run:\n{done.stdout}{done.stderr}")
    return str(names[0])


def told(mutants: Iterable[Mutant], copy: Path) -> list[str]:
    """What survived; the rest of the table goes to stdout as it comes."""
    survived = []
    sys.stdout.write("| planted | at | found by | seconds |\n| --- | --- | --- | ---: |\n")
    for mutant in mutants:
        began = monotonic()
        test = found_by(mutant, copy)
        if test is None:
            survived.append(mutant.what)
        finder = f"`{test}`" if test else "**nothing**"
        sys.stdout.write(f"| {mutant.what} | `{mutant.edits[0][0]}` | {finder} | {monotonic() - began:.0f} |\n")
        sys.stdout.flush()
    return survived


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose description has this in it")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if only in mutant.what]
    if not mutants:
        parser.error(f"no bug's description has {only!r} in it")
    with tempfile.TemporaryDirectory(prefix="doubletext-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        survived = told(mutants, copy)
    sys.stdout.write(f"{len(mutants)} planted, {len(mutants) - len(survived)} found\n")
    if survived:
        sys.exit("nothing finds: " + "; ".join(survived))


if __name__ == "__main__":
    main()
