"""Plays the scenarios on one system, in that system's venv: `python -m bench.peers.play NAME FOLDER [--kill]`.

Leaves FOLDER/result.json. Ends its servers however it ends, also on SIGTERM.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from bench.peers.journal import VARIABLE
from bench.peers.killing import kill
from bench.peers.scenarios import Scenarios


async def play(name: str, folder: Path, with_kill: bool) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    journal = folder / "journal"
    os.environ[VARIABLE] = str(journal)
    system = importlib.import_module(f"bench.peers.systems.{name}").System(folder)
    try:
        await system.start()
        result = await Scenarios(system, journal, folder.name).play()
        if with_kill:
            result["kill"] = await kill(system, journal, folder.name)
    finally:
        await system.kill()
    return result


if __name__ == "__main__":
    place = Path(sys.argv[2]).resolve()
    (place / "result.json").write_text(json.dumps(asyncio.run(play(sys.argv[1], place, "--kill" in sys.argv[3:]))))
