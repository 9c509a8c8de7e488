"""Run an event loop until a signal ends it, for `serve` and `worker`."""

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ModuleNotFoundError):  # a worker also runs without uvloop
    import uvloop

    new_event_loop = uvloop.new_event_loop

log = structlog.get_logger("process")


def run(main: Coroutine[Any, Any, bool], stop: Callable[[], None]) -> None:
    """Run to the end. Call `stop` at SIGTERM and at Ctrl-C.

    `main` returns whether graphs are left that do not stop. Such graphs would keep the interpreter waiting for ever.
    All else is closed by then, so the process ends here.
    """
    if hasattr(os, "register_at_fork"):
        _keep_signals_from_children()
    runner = asyncio.Runner(loop_factory=new_event_loop)
    loop = runner.get_loop()
    if _run_to_its_end(loop, loop.create_task(_stopped_by_signals(main, stop))):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        atexit._run_exitfuncs()  # the last lines of the log among them
        os._exit(0)
    runner.close()


OURS: Final = (signal.SIGTERM, signal.SIGINT)


def _keep_signals_from_children() -> None:
    """Let a signal to a process that graph code forks reach that process alone.

    It gets our handlers, and the descriptor that wakes our loop. Signals wait until it has let go of them, so that none
    is lost.
    """

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, OURS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS),
        after_in_child=reset,
    )


def _run_to_its_end(loop: asyncio.AbstractEventLoop, main: "asyncio.Task[bool]") -> bool:
    """Run the loop until `main` is done, and return its result.

    sys.exit() or a KeyboardInterrupt in a task or a callback leaves the event loop, whoever's it is
    (https://docs.python.org/3/library/asyncio-task.html#asyncio.Task). When graph code does that, nobody else's work
    ends by it. A task keeps the exception too, so that the graph which awaits it fails.
    """
    while True:
        try:
            return loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as error:
            if main.done():
                raise
            log.error("graph code would have ended the process; it goes on", error=repr(error), exc_info=error)


async def _stopped_by_signals(main: Coroutine[Any, Any, bool], stop: Callable[[], None]) -> bool:
    for number in OURS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return await main
