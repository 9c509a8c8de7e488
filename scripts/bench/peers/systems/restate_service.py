"""The task as services of Restate, in a process of its own that Restate's server calls.

`Thread.run` waits its turn, as every call of an exclusive handler of a virtual object does for its key.
`Session.message` and `Task.run` are the pattern that Restate's docs give for a message that interrupts.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import restate
from restate.exceptions import TerminalError

from bench.peers.journal import work

Json = dict[str, Any]
thread = restate.VirtualObject("Thread")
session = restate.VirtualObject("Session")
task = restate.Service("Task")


async def steps(ctx: Any, name: str, given: Json) -> None:
    for place in range(given["steps"]):
        await ctx.run_typed(
            f"step {place}", work, thread=name, number=given["number"], step=place, seconds=given["seconds"]
        )


@thread.handler("run")
async def wait_your_turn(ctx: restate.ObjectContext, given: Json) -> None:
    await steps(ctx, ctx.key(), given)


@session.handler("message")
async def interrupt(ctx: restate.ObjectContext, given: Json) -> None:
    running = await ctx.get("running", type_hint=str)
    if running:
        ctx.cancel_invocation(running)
        done: Any = ctx.attach_invocation(running)
        with suppress(TerminalError):  # how a cancelled invocation ends
            await restate.select(done=done, timed_out=ctx.sleep(timedelta(seconds=30)))
    handle = ctx.service_send(run, arg={**given, "thread": ctx.key()})
    ctx.set("running", await handle.invocation_id())


@task.handler("run")
async def run(ctx: restate.Context, given: Json) -> None:
    await steps(ctx, given["thread"], given)


app = restate.app(services=[thread, session, task])
