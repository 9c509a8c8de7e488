"""Graphs that measured runs execute. They take down moments (CLOCK_MONOTONIC, one clock for all processes of a machine)
and leave them in the thread's state, under the id of their run."""

from asyncio import sleep
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from doubletext import Context, graph


@graph
async def stamped(ctx: Context) -> dict[str, Any]:
    """Its first moment and its last. input.seconds: how long it sleeps in between."""
    started = monotonic()
    await sleep(ctx.input["seconds"])
    return {ctx.run["run_id"]: [started, monotonic()]}


@graph
async def cooperative(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Its first moment; then, with input.endless, sleeps until it is stopped."""
    yield {ctx.run["run_id"]: [monotonic()]}
    if ctx.input["endless"]:
        await sleep(3600)


@graph
async def one_step(ctx: Context) -> dict[str, Any]:
    """Answers in one step, as `echo` does; for servers and workers alike."""
    return {"messages": [{"role": "assistant", "content": "It is sunny in San Francisco."}]}


@graph
async def three_steps(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Asks a tool, hears it, answers, without looking at what was said before."""
    for role, content in (
        ("assistant", ""),
        ("tool", '{"city": "San Francisco", "sky": "sunny", "celsius": 18}'),
        ("assistant", "It is sunny and 18 °C in San Francisco."),
    ):
        yield {"messages": [{"role": role, "content": content}]}
