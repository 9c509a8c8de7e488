"""Plays the same scenarios on every system in turn, round after round, each in a process of its own venv."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from typing import Any, Final

from bench.peers.catalogue import SYSTEMS, Entry
from bench.peers.install import HOMES, CannotInstall, install, python, versions
from bench.peers.servers import ROOT

LONGEST: Final = 240.0

Say = Callable[[str], None]


async def compare(rounds: int, say: Say, only: str = "") -> dict[str, Any]:
    """Install what is missing, then play interleaved rounds A B C … A B C …; with `only`, on that system alone.

    {"rounds": n, "seconds": all of it without installing, "systems": {NAME: {
        "title", "configured", "page", "composed", "versions": {package: version},
        "not_run": "" or why there are no figures,
        "rounds": [what Scenarios.play returns, of the first round also "kill"]}}}

    Systems stand in the order in which they are shown. What killing.kill does is done in the first round only.
    """
    entries = [entry for entry in SYSTEMS if only in ("", entry.name)]
    told = {entry.name: await _prepare(entry, say) for entry in entries}
    begin = time.monotonic()
    for number in range(1, rounds + 1):
        for entry in entries:
            system = told[entry.name]
            if system["not_run"]:
                continue
            say(f"round {number} of {rounds}: {entry.title}")
            try:
                system["rounds"].append(await _play(entry, number))
            except Failed as failure:
                say(f"{entry.title}: {failure.said}")
                system["not_run"] = f"{failure} in round {number}"
    return {"rounds": rounds, "seconds": time.monotonic() - begin, "systems": told}


class Failed(Exception):
    """A system whose scenarios came to no end; `said` is what its process printed."""

    def __init__(self, why: str, said: str) -> None:
        super().__init__(why)
        self.said = said


async def _prepare(entry: Entry, say: Say) -> dict[str, Any]:
    told: dict[str, Any] = {
        "title": entry.title,
        "configured": entry.configured,
        "page": entry.page,
        "composed": sorted(entry.composed),
        "versions": {},
        "not_run": "",
        "rounds": [],
    }
    begin = time.monotonic()
    try:
        if entry.home and await install(entry.home):
            say(f"installed {entry.title} in {time.monotonic() - begin:.0f} s")
        told["versions"] = await versions(entry)
    except CannotInstall as failure:
        say(f"{entry.title}: {failure}\n{failure.said}")
        told["not_run"] = str(failure)
    return told


async def _play(entry: Entry, number: int) -> Any:
    """One round on one system. Raises Failed."""
    folder = HOMES / "work" / f"{entry.name}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kill = ("--kill",) if number == 1 else ()
    process = await asyncio.create_subprocess_exec(
        str(python(entry)),
        *("-m", "bench.peers.play", entry.name, str(folder), *kill),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    why = "its scenarios failed"
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LONGEST)
    except TimeoutError:
        why = f"its scenarios took longer than {LONGEST:.0f} s"
        said = b""
    finally:
        if process.returncode is None:
            process.terminate()  # it ends its servers
            await process.wait()
    if process.returncode:
        raise Failed(why, said.decode(errors="replace")[-3000:])
    result = json.loads((folder / "result.json").read_text())
    shutil.rmtree(folder)
    return result
