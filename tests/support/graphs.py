"""Graphs of worker processes, and what they wait for: a gate in the test's process, to which they connect."""

import asyncio
import os
import random
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


def steps_of(run_id: str) -> int:
    """How many steps a run of `wandering` makes after its input, if nothing ends it before."""
    return random.Random(run_id).randint(0, 5)


@graph
async def wandering(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Something of everything, drawn by the run's id: up to five steps in its own time, outputs, failures, deafness.

    Its messages are its run's id and their numbers, and each step names the attempt that made it. Going on after an
    earlier attempt, it starts where that ended.
    """
    run_id = ctx.run["run_id"]
    draw = random.Random(f"{run_id} {ctx.run['attempt']}")
    made = sum(message["content"].startswith(f"{run_id} ") for message in ctx.state.get("messages", []))
    steps = steps_of(run_id)
    deaf = draw.random() < 0.1
    for number in range(made + 1, steps + 1):
        seconds = draw.choice((0, 0.02, 0.1, 0.5))
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not deaf:
                raise
        if draw.random() < 0.1:
            await ctx.emit("tokens", {"of": number})
        if draw.random() < 0.03:
            raise ValueError(f"step {number} cannot be made")
        message = {"role": "assistant", "content": f"{run_id} {number}"}
        yield {"messages": [message], "attempt": ctx.run["attempt"]}
