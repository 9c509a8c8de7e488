"""Installs each peer in a folder of its own below .bench, at pinned versions, and only when these have changed."""

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final, NamedTuple

from bench.peers.catalogue import Entry
from bench.peers.servers import ROOT

HOMES: Final = ROOT / ".bench"
LOCKS: Final = Path(__file__).parent / "systems"
RESTATE_SERVER: Final = "@restatedev/restate-server@1.7.12"
TEMPORAL: Final = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
PATIENCE: Final = 1200.0
QUIET: Final = {"DO_NOT_TRACK": "1", "SCARF_ANALYTICS": "false"}


class CannotInstall(Exception):
    """The message says in a few words which tool failed or is missing; `said` is what it printed."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


class Step(NamedTuple):
    command: tuple[str, ...]
    bin: str = ""  # where `go install` leaves what it built


def recipe(home: str) -> list[Step]:
    """The commands that make a home, which are also what its stamp is made of."""
    folder, lock = HOMES / home, LOCKS / f"{home}.txt"
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(lock))
    steps = [Step((sys.executable, "-m", "venv", "--clear", str(folder))), Step((str(folder / "bin/python"), *pip))]
    if home == "restate":
        npm = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
        steps.append(Step((*npm, RESTATE_SERVER)))
    if home == "temporal":
        steps.append(Step(("go", "install", TEMPORAL), str(folder / "go")))
    return steps


async def install(home: str) -> bool:
    """Make the home if it is missing or stale; whether anything was done. Raises CannotInstall."""
    steps, stamp = recipe(home), HOMES / home / "stamp"
    key = f"{steps} {(LOCKS / f'{home}.txt').read_text()} {sys.version}"
    key = hashlib.sha256(key.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == key:
        return False
    for step in steps:
        await _run(step)
    stamp.write_text(key)
    return True


async def versions(entry: Entry) -> dict[str, str]:
    """What is installed, asked of it."""
    ask = "import sys, importlib.metadata as m; [print(p, m.version(p)) for p in sys.argv[1:]]"
    told = await _run(Step((str(python(entry)), "-c", ask, *entry.packages)))
    found = dict(line.split(" ", 1) for line in told.splitlines())
    if entry.binary:
        name, *words = entry.binary
        path = HOMES / entry.home / name
        found[path.name] = (await _run(Step((str(path), *words)))).strip().removeprefix(path.name).strip()
        if entry.home == "temporal":  # built like this, it knows its server's version and not its own
            found[path.name] = f"CLI {TEMPORAL.rpartition('@')[2]} {found[path.name].partition('-DEV ')[2]}"
    return found


def python(entry: Entry) -> Path:
    return HOMES / entry.home / "bin/python" if entry.home else Path(sys.executable)


async def _run(step: Step) -> str:
    program = step.command[0]
    if shutil.which(program) is None:
        raise CannotInstall(f"{Path(program).name} is not there")
    process = await asyncio.create_subprocess_exec(
        *step.command,
        env={**os.environ, **QUIET, **({"GOBIN": step.bin} if step.bin else {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError:
        process.kill()
        raise CannotInstall(f"{Path(program).name} took longer than {PATIENCE:.0f} s") from None
    if process.returncode:
        words = " ".join(step.command[1:4] if program.endswith("python") else step.command[1:2])
        raise CannotInstall(f"`{Path(program).name} {words}` failed", said.decode(errors="replace"))
    return said.decode(errors="replace")
