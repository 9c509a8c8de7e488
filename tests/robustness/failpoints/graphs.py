"""Graphs of the processes that tests kill."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from doubletext import Context, graph


@graph
async def dies(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Makes 3 steps: the first attempt makes 2 of them and hangs until its server dies, the next goes on from there."""
    text = ctx.input["messages"][0]["content"]
    made = [m["content"] for m in ctx.state["messages"] if m["content"].startswith(f"{text} ")]
    for number in range(len(made) + 1, 4):
        if not made and number == 3:
            await asyncio.Event().wait()
        yield {"messages": [{"role": "assistant", "content": f"{text} {number}"}]}


@graph
async def kills(ctx: Context) -> dict[str, Any]:
    """Takes its server with it, every time."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@graph
async def held(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Makes `steps` steps, each after an output. With `hold` it then waits to be stopped, if its server is one that is
    to be killed; another attempt goes on with the steps that are missing."""
    text = ctx.input["messages"][0]["content"]
    made = sum(message["content"].startswith(f"{text} ") for message in ctx.state["messages"])
    for number in range(made + 1, ctx.input["steps"] + 1):
        await ctx.emit("progress", {"text": f"{text} {number}"})
        yield {"messages": [{"role": "assistant", "content": f"{text} {number}"}]}
    if ctx.input["hold"] and os.environ.get("CRASH_HOLD"):
        await asyncio.Event().wait()
