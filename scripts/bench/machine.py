"""What the figures were measured on: the machine, the versions, the disk."""

import os
import platform
import re
import resource
import sqlite3
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from bench.processes import ROOT, TICKS
from bench.text import figure

PACKAGES: Final = ("grpcio", "protobuf", "aiosqlite", "transitions", "uvloop")
SYNCS: Final = 50


def describe() -> dict[str, str]:
    """By what it is, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{figure(memory)} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "disk": f"{_filesystem(Path(tempfile.gettempdir()))}; 4 KiB written and synced in {figure(_sync_ms())} ms",
        "doubletext": f"{version('doubletext')}, {_revision()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        **{name: version(name) for name in PACKAGES},
    }


def others_seconds() -> float:
    """CPU time that was not ours, since the machine started: figures are worth less where it grows fast meanwhile."""
    busy = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _, _, irq, soft = busy[:7]
    mine = sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return (user + nice + system + irq + soft) / TICKS - mine


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _filesystem(folder: Path) -> str:
    """The kind of file system in which the databases lie: that of the innermost mount."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    around = [(mount[1], mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(around, key=lambda mount: len(mount[0]))[1] if around else "unknown"


def _sync_ms() -> float:
    """What a commit cannot do without, in milliseconds."""
    took = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(SYNCS):
            began = perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append(1000 * (perf_counter() - began))
    return median(took)


def _revision() -> str:
    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        return f"commit {git('rev-parse', '--short', 'HEAD')}{changed}"
    except (OSError, subprocess.CalledProcessError):
        return "no git checkout"
