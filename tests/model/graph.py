"""A graph of the server's own whose every move the test decides."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from doubletext import Context, Graph, graph


@dataclass
class Attempt:
    """One execution. `waits`: it has done what it was told, and waits for the next word."""

    task: asyncio.Task[Any]
    words: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    waits: bool = False
    stubborn: bool = False

    def tell(self, word: str, content: Any = None) -> None:
        self.waits = False
        self.words.put_nowait((word, content))

    def let_go(self) -> None:
        """Let it obey from now on; if it was stopped, it ends."""
        self.stubborn = False
        self.tell("finish")

    async def next(self) -> tuple[str, Any]:
        """The next word; a stubborn one goes on waiting for it when it is cancelled."""
        self.waits = self.words.empty()
        while True:
            try:
                return await self.words.get()
            except asyncio.CancelledError:
                if not self.stubborn:
                    self.waits = False
                    raise
                self.task.uncancel()


class Player:
    """Makes the graph `played`, and has its attempts by their runs' ids: the newest of each."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}

    def graph(self) -> Graph:
        @graph
        async def played(ctx: Context) -> AsyncIterator[dict[str, Any]]:
            task = asyncio.current_task()
            assert task is not None
            me = self.attempts[ctx.run["run_id"]] = Attempt(task)
            while True:
                word, content = await me.next()
                if word == "step":
                    yield content
                elif word == "emit":
                    await ctx.emit("tokens", content)
                    await ctx._emit.__self__._outputs.flush()  # type: ignore[attr-defined] # now, and not in a moment
                elif word == "fail":
                    raise LookupError(content)
                else:
                    return

        return played

    def waiting(self) -> set[str]:
        """The runs whose attempts wait for a word: those that a cancellation has reached are none."""
        return {
            run_id
            for run_id, attempt in self.attempts.items()
            if attempt.waits and not attempt.task.done() and not attempt.task.cancelling()
        }
