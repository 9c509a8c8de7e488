"""The task as a graph of doubletext."""

from collections.abc import AsyncIterator
from typing import Any

from bench.peers.journal import work
from doubletext.graph import Context, graph


@graph
async def task(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    for step in range(int(ctx.input["steps"])):
        await work(ctx.run["thread_id"], int(ctx.input["number"]), step, ctx.input["seconds"])
        yield {"step": step}
