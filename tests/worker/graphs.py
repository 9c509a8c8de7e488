"""Graphs of worker processes, and what they wait for: a gate in the test's process, to which they connect."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

from doubletext import Context, graph


async def at_gate(port: int, name: str) -> None:
    """Tell the test that we are here, and wait until it lets us go on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{name}\n".encode())
        await writer.drain()
        await reader.readline()
    finally:
        writer.close()


@graph
async def counting(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Makes `steps` messages of its text and their numbers, going on where an earlier attempt was cut short.

    input.stops: where it waits at the gate, as "attempt.steps made"
    input.gate: the gate's port
    """
    text, attempt = ctx.input["messages"][0]["content"], ctx.run["attempt"]
    made = sum(message["content"].startswith(f"{text} ") for message in ctx.state["messages"])
    for number in range(made, ctx.input.get("steps", 3) + 1):
        if f"{attempt}.{number}" in ctx.input.get("stops", []):
            await at_gate(ctx.input["gate"], f"{text} {attempt}.{number}")
        if number < ctx.input.get("steps", 3):
            yield {"messages": [{"role": "assistant", "content": f"{text} {number + 1}"}]}


@graph
async def kills(ctx: Context) -> dict[str, Any]:
    """Takes its worker with it, every time."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}
