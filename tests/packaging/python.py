"""A Python of its own, to see what a program imports, and what works where modules are missing."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# Reads, as JSON, the modules that are missing and the commands to run one after the other.
COMMANDS: Final = """
import contextlib, io, json, sys
missing, commands = json.load(sys.stdin)
sys.modules.update(dict.fromkeys(missing))
from doubletext.cli.main import main
ended = []
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(command, prog_name="doubletext")
        except SystemExit as end:
            ended.append((end.code, out.getvalue(), err.getvalue()))
print(json.dumps([ended, [name for name, module in sys.modules.items() if module is not None]]))
"""


def python(*arguments: str, stdin: str = "") -> str:
    """What Python prints, without the current folder among those that it imports from."""
    ran = subprocess.run(
        [sys.executable, "-P", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def imported(code: str) -> set[str]:
    """The modules that are there once the code has run."""
    return set(json.loads(python("-c", f"{code}\nimport json, sys; print(json.dumps([*sys.modules]))")))


def top_level(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@dataclass
class Ended:
    code: int
    stdout: str
    stderr: str


def commands(*given: tuple[str, ...], missing: Iterable[str] = ()) -> tuple[list[Ended], set[str]]:
    """Run commands of the command line in one process, where some modules are missing.

    Returns how each of them ended, and the modules that are there after them.
    """
    ended, modules = json.loads(python("-c", COMMANDS, stdin=json.dumps([[*missing], given])))
    return [Ended(*each) for each in ended], set(modules)
