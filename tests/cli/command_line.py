"""The command line under test: `serve` as a process of its own, the rest in the test's process.

A process costs a start of Python and its imports: it is for exit codes, signals and terminals, once for each.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import structlog
from click.testing import CliRunner, Result

from doubletext.cli.exit_codes import Exit
from doubletext.cli.main import main

ROOT: Final = Path(__file__).parents[2]
ANSI: Final = re.compile(r"\x1b")

# `held` waits for ever unless the environment says otherwise; `mine` says what the file beside it says.
GRAPHS: Final = """
import asyncio, os
from doubletext import graph
from beside import WORD

@graph
async def held(ctx):
    yield {"messages": [{"role": "assistant", "content": "so far"}]}
    if "LET_GO" not in os.environ:
        await asyncio.Event().wait()

@graph
async def mine(ctx):
    return {"messages": [{"role": "assistant", "content": WORD}]}

@graph
async def fails(ctx):
    raise LookupError("no such weather")

async def plain(ctx):
    return {"plain": True}

number = 5
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "doubletext", *arguments]


def invoke(*arguments: str) -> Result:
    """Run a command to its end in the test's process: a server only if it is refused."""
    logs, path = structlog.get_config(), list(sys.path)
    try:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)
    finally:
        structlog.configure(**logs)
        sys.path[:] = path


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end, as a process."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Server:
    process: "subprocess.Popen[str]"
    address: str
    db: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=4)


@contextmanager
def serving(db: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """`doubletext serve` as a process of its own, whose log goes to a file beside the database."""
    with open(f"{db}.log", "a") as log:
        process = subprocess.Popen(
            command("serve", "--listen", "127.0.0.1:0", "--db", str(db), *arguments),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    with process:
        try:
            yield Server(process, listening(process.stdout), db)
        finally:
            process.kill()


def listening(stdout: IO[str]) -> str:
    """The address in the one line that a server prints."""
    line = stdout.readline()
    found = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", line)
    assert found, line
    return found[1]


def graphs(folder: Path, *names: str) -> list[str]:
    return [text for name in names for text in ("--graphs", f"{folder / 'graphs.py'}:{name}")]


@dataclass
class Verbs:
    """The client verbs, in the test's process."""

    address: str

    def __call__(self, *arguments: str, code: Exit = Exit.DONE, stdin: str | None = None) -> Result:
        environment = {"DOUBLETEXT_SERVER": self.address}
        result = CliRunner().invoke(main, arguments, env=environment, input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        assert not ANSI.search(result.output)
        return result

    def json(self, *arguments: str, code: Exit = Exit.DONE, stdin: str | None = None) -> Any:
        result = self(*arguments, "--json", code=code, stdin=stdin)
        assert result.stderr == ""
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)

    def error(self, *arguments: str, code: Exit) -> dict[str, Any]:
        """The error, as JSON; as text it must be one line that says the same."""
        result = self(*arguments, "--json", code=code)
        assert result.stdout == ""
        error: dict[str, Any] = json.loads(result.stderr)["error"]
        plain = self(*arguments, code=code)
        assert plain.stdout == ""
        assert plain.stderr == f"error: {error['message']} ({error['reason'] or error['code']})\n"
        return error
