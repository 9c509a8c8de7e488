"""A Python of its own, to see what a program imports, and what works where modules are missing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# Runs the command line as `doubletext` does. The command's arguments follow the names of the modules that are missing
# and the name of a file, where it writes which modules it imported in the end.
COMMAND: Final = """
import json, sys
missing, written, *arguments = sys.argv[1:]
for name in missing.split():
    sys.modules[name] = None
from doubletext.cli.main import main
try:
    main(arguments, prog_name="doubletext")
finally:
    with open(written, "w") as file:
        json.dump(sorted(name for name, module in sys.modules.items() if module is not None), file)
"""


def imported(code: str) -> set[str]:
    """The modules that are there once the code has run."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(ran.stdout))


def top_level(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


class Command:
    """The command line without some modules. `modules`: what it imported the last time."""

    def __init__(self, folder: Path, *missing: str) -> None:
        self._folder = folder
        self._missing = " ".join(missing)
        self.modules: set[str] = set()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run to the end and return what it printed: on stdout, or on stderr where it is to fail."""
        written = self._folder / "modules.json"
        ran = subprocess.run(
            [sys.executable, "-P", "-c", COMMAND, self._missing, str(written), *arguments],
            cwd=self._folder,
            env={**os.environ, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ran.returncode == code, ran
        assert "Traceback" not in ran.stderr
        self.modules = set(json.loads(written.read_text()))
        return ran.stderr if code else ran.stdout
