"""Write a graph: code that turns a thread's state into steps.

A graph is an async generator that gets a Context and yields updates, or a plain async function that returns one update.
Each update becomes one durable step. The same graph runs in the server's process (`doubletext serve --graphs
FILE:NAME`) and in a worker's (`doubletext worker --graphs FILE:NAME`). This module knows neither the server nor gRPC.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import cached_property
from typing import Any, Final, TypeAlias, cast, overload

Json: TypeAlias = dict[str, Any]
GraphFunction: TypeAlias = Callable[["Context"], AsyncIterator[Mapping[str, Any]] | Awaitable[Mapping[str, Any] | None]]


LONGEST_CHANNEL: Final = 1024
"""Characters of an output's channel."""


class Context:
    """What a graph gets: the run that it executes, and the thread's state.

    input   the run's input, a JSON object; `state` contains it already
    state   the thread's values when this attempt began, a JSON object; the graph may change it, which changes nothing
            else. After a crash it contains the steps of the run's earlier attempts, so a graph can go on from there.
    run     run_id, thread_id, assistant_id, sequence, metadata, attempt (1 for the first)
    config  the assistant's config, a JSON object
    """

    def __init__(
        self,
        *,
        run: Json,
        input: Json,
        config: Json,
        load_state: Callable[[], Json],
        emit: Callable[[str, Json, bool], Awaitable[None]],
        absorb: Callable[[], Awaitable[list[Json]]],
    ) -> None:
        self.run = run
        self.input = input
        self.config = config
        self._load_state = load_state
        self._emit = emit
        self._absorb = absorb

    @property
    def absent(self) -> Json:
        """The value that removes a key from the state: `yield {"draft": ctx.absent}`.

        A message is removed by `yield {"messages": [{"id": its_id, "remove": True}]}`.
        """
        return {"doubletext:absent": True}

    @cached_property
    def state(self) -> Json:
        return self._load_state()

    async def steered(self) -> list[Json]:
        """Take what was said to the thread with the strategy "steer" since the run started, or since the last call.

        Returns the inputs, JSON objects, in order; empty when nothing was said. Each is a step of this run now, and in
        the thread's state, though not in `state`. Call it where the graph can still react: what it does not take runs
        next, as a run of its own.

            for said in await ctx.steered():
                messages += said["messages"]
        """
        return await self._absorb()

    async def emit(self, channel: str, data: Mapping[str, Any], *, live_only: bool = False) -> None:
        """Show `data`, a JSON object, to all who watch the run. It is on disk soon, but it is not part of the state.

        It may be called for every token: what is emitted within a few milliseconds shares a commit. All of it is on
        disk before the next step and before the run's end.

        live_only  shows it at once to those who watch the run with `live`, and to the others together with what is
                   emitted within a tenth of a second
        """
        if not isinstance(channel, str):
            raise TypeError(f"a channel is a text, not {channel!r}")
        if len(channel) > LONGEST_CHANNEL:
            raise ValueError(f"a channel may have {LONGEST_CHANNEL} characters; this one has {len(channel)}")
        channel.encode()  # half a surrogate pair cannot be sent
        await self._emit(channel, dict(data), live_only)


class Graph:
    """A graph with its name. `yields` is true for a generator, and false for a function that returns one update."""

    def __init__(self, function: GraphFunction, name: str) -> None:
        if not (inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)):
            raise TypeError(
                f"graph {name!r} is no async function: write `async def {name}(ctx)`, and yield updates or return one"
            )
        self.function = function
        self.yields = inspect.isasyncgenfunction(function)
        self.name = name
        self.__doc__ = function.__doc__

    async def run(self, context: Context, commit: Callable[[Any], Awaitable[None]]) -> Any:
        """Execute the graph. Call `commit` with each update that it yields; return the update of a plain function."""
        if not self.yields:
            return await cast("Awaitable[Any]", self.function(context))
        async with aclosing(cast("AsyncGenerator[Any, None]", self.function(context))) as updates:
            async for update in updates:
                await commit(update)
        return None


@overload
def graph(function: GraphFunction, /) -> Graph: ...
@overload
def graph(*, name: str) -> Callable[[GraphFunction], Graph]: ...
def graph(function: GraphFunction | None = None, /, *, name: str = "") -> Graph | Callable[[GraphFunction], Graph]:
    """Make a Graph of an async function. Its name is `name`, or the function's name.

    @graph
    async def greeter(ctx):
        yield {"messages": [{"role": "assistant", "content": "hello"}]}

    Raises TypeError for a function that is not async.
    """
    if function is not None:
        return Graph(function, function.__name__)

    def named(function: GraphFunction) -> Graph:
        return Graph(function, name)

    return named
