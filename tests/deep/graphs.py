"""Graphs that harm whom they can: the process they run in, its loop, its children, its stdio."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from doubletext import Context, graph

Steps = AsyncIterator[dict[str, Any]]
FORK = multiprocessing.get_context("fork")


def idle(seconds: float) -> None:
    """Hold the thread for so long."""
    threading.Event().wait(seconds)


@graph
async def leaves(ctx: Context) -> Steps:
    async def tool() -> None:
        sys.exit(3)

    await asyncio.gather(tool(), asyncio.sleep(1))
    yield {"a": 1}


@graph
async def later(ctx: Context) -> Steps:
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0.3)
    yield {"a": 1}


@graph
async def slow(ctx: Context) -> Steps:
    await asyncio.sleep((ctx.input or {}).get("seconds", 3))
    yield {"ok": 1}


@graph
async def crunch(ctx: Context) -> Steps:
    with Path(ctx.input["log"]).open("a") as log:  # noqa: ASYNC230 - it is there to block
        log.write(f"attempt {ctx.run['attempt']}\n")
    idle(25)
    yield {"done": True}


@graph
async def small(ctx: Context) -> Steps:
    yield {"keys": len(ctx.state)}


@graph
async def helper(ctx: Context) -> Steps:
    child = FORK.Process(target=idle, args=(60,))
    child.start()
    await asyncio.sleep(0.3)
    child.terminate()
    await asyncio.sleep(1.5)
    yield {"done": True}


@graph
async def parent(ctx: Context) -> Steps:
    child = FORK.Process(target=idle, args=(40,))
    child.start()
    yield {"pid": child.pid}


@graph
async def crash(ctx: Context) -> Steps:
    await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
    yield {"a": 1}


@graph
async def hold(ctx: Context) -> Steps:
    yield {"a": 1}
    await asyncio.Event().wait()


@graph
async def escapes(ctx: Context) -> Steps:
    raise ValueError("\x1b]0;title\x07\x1b[2Jbad")
    yield {}
