"""Run an event loop until a signal ends it, for `serve` and `worker`."""

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ModuleNotFoundError):  # a worker also runs without uvloop
    import uvloop

    new_event_loop = uvloop.new_event_loop


def run(main: Coroutine[Any, Any, bool], stop: Callable[[], None]) -> None:
    """Run to the end, and call `stop` at SIGTERM and at Ctrl-C.

    `main` returns whether graphs are left that do not stop. They would keep the interpreter waiting for ever. All else
    is closed by then, so the process ends here.
    """
    runner = asyncio.Runner(loop_factory=new_event_loop)
    if runner.run(_stopped_by_signals(main, stop)):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        atexit._run_exitfuncs()  # the last lines of the log among them
        os._exit(0)
    runner.close()


async def _stopped_by_signals(main: Coroutine[Any, Any, bool], stop: Callable[[], None]) -> bool:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return await main
