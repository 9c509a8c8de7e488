"""Commands as processes of their own: what opens a served file must not live in the process that serves it."""

import asyncio
import sys

from tests.cli.command_line import ROOT


async def execute(*command: str) -> tuple[int | None, str]:
    """Run Python with these arguments to its end: its exit code, and what it said on stdout and stderr."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await child.communicate()
    return child.returncode, out.decode()
