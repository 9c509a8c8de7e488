"""What a load process calls, over raw stubs. Each maker prepares what its calls need, and returns the call.

A call raises when it was not answered as it should be: an answer that comes fast because nothing was done is no figure.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.bench.calls.joiners import joiners
from tests.bench.calls.mixed import mixed
from tests.bench.calls.requests import Call
from tests.bench.calls.simple import create, echo, get, refused, turn
from tests.bench.calls.threads import queue, turn_on
from tests.bench.calls.waits import joined, next_in_line, superseded

CALLS: Final[dict[str, Callable[..., Awaitable[Call]]]] = {
    each.__name__: each
    for each in (create, echo, get, joined, joiners, mixed, next_in_line, queue, refused, superseded, turn, turn_on)
}
