"""What a load process calls, over raw stubs. Each maker prepares what its calls need, and returns the call.

A call raises when it was not answered as it should be: an answer that comes fast because nothing was done is no figure.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from bench.calls.joiners import joiners
from bench.calls.mixed import mixed
from bench.calls.requests import Call
from bench.calls.simple import create, echo, get, refused, turn
from bench.calls.threads import queue, turn_on
from bench.calls.waits import joined, next_in_line, superseded

CALLS: Final[dict[str, Callable[..., Awaitable[Call]]]] = {
    each.__name__: each
    for each in (create, echo, get, joined, joiners, mixed, next_in_line, queue, refused, superseded, turn, turn_on)
}
