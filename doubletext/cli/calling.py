"""Run the function behind a client command: connect, call it, and turn its end into an exit code."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from doubletext import convert, jsontext
from doubletext.cli.exit_codes import EXIT_OF, Exit
from doubletext.cli.render.show import Show
from doubletext.client import Client
from doubletext.errors import DoubletextError


def call(
    function: Callable[..., Awaitable[Exit | None]], server: str, for_script: bool, arguments: dict[str, Any]
) -> Exit:
    return asyncio.run(_outcome(function, server, Show(for_script), arguments))


async def _outcome(
    function: Callable[..., Awaitable[Exit | None]], server: str, show: Show, arguments: dict[str, Any]
) -> Exit:
    convert.READ.set(jsontext.read)
    try:
        with woken_by_signals():
            async with Client(server, retry_for=0) as client:
                return await function(client, show, **arguments) or Exit.DONE
    except DoubletextError as error:
        show.error(error)
        return EXIT_OF.get(error.code.name, Exit.INTERNAL)
    except ValueError as error:  # an argument that cannot be written as protobuf
        show.error(DoubletextError(str(error), code=grpc.StatusCode.INVALID_ARGUMENT))
        return Exit.INVALID


@contextmanager
def woken_by_signals() -> Iterator[None]:
    """Let a signal wake the event loop at any moment. Without this, a Ctrl-C that comes just before the loop falls
    asleep is noticed only when something else wakes it, since nothing interrupts the sleep any more
    (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd).
    """
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with here, there:
        try:
            loop.add_reader(here, here.recv, 4096)
        except NotImplementedError:  # Windows, where signals wake the loop without this
            yield
            return
        there.setblocking(False)
        before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            loop.remove_reader(here)
            signal.set_wakeup_fd(before)
