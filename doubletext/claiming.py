"""The attempt at a claimed run: it executes the graph, and reports how that ended.

The server's own executor and the worker share it. They differ in the Lease through which it reaches the thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import structlog

from doubletext import jsontext
from doubletext.graph import Context, Graph, Json

log = structlog.get_logger("attempt")


class Over(Exception):
    """The lease is over: nothing that the attempt does is wanted any more."""


class Succeeded(NamedTuple):
    """`update`: a last step, of a graph that returned one."""

    update: jsontext.Text | None


class Failed(NamedTuple):
    type: str
    message: str


Outcome: TypeAlias = Succeeded | Failed


class Start(NamedTuple):
    """What a graph's Context is made of; see there."""

    run: Json
    input: Json
    config: Json
    load_state: Callable[[], Json]


class Lease(Protocol):
    """The right to execute one attempt of one run. Its methods go on trying while the server cannot be reached or
    cannot write, and raise Over once the lease is over.

    refusals  what `commit`, `emit` and `finish` raise for an update that is not taken
    """

    @property
    def refusals(self) -> tuple[type[Exception], ...]: ...

    async def start(self) -> Start: ...

    async def commit(self, update: jsontext.Text) -> None:
        """Make the update the run's next step."""

    async def emit(self, channel: str, data: jsontext.Text) -> None:
        """Show the data to whoever watches the run."""

    async def finish(self, outcome: Outcome) -> None:
        """End the run."""

    async def release(self) -> None:
        """Acknowledge that the run was stopped, or hand it back."""


class Attempt:
    """One execution of a claimed run. Call `run` once, and `stop` or `abandon` when the lease is over.

    names: what its log lines name it by
    """

    def __init__(self, graph: Graph, lease: Lease, names: Mapping[str, object]) -> None:
        self._graph = graph
        self._lease = lease
        self._names = names
        self._executing: asyncio.Task[Outcome] | None = None
        self._over = False
        self._abandoned = False

    @property
    def executed(self) -> bool:
        """Whether the graph's code is over."""
        return self._executing is not None and self._executing.done()

    def stop(self) -> None:
        """Cancel the graph. The stop is acknowledged once its code is over."""
        self._over = True
        if self._executing is not None:
            self._executing.cancel()

    def abandon(self) -> None:
        """Cancel the graph of a run that was handed back: nobody waits for its code."""
        self._abandoned = True
        self.stop()

    async def run(self) -> None:
        """Execute the graph to its end, then finish the run, or acknowledge that it was stopped."""
        outcome = None if self._over else await self._executed()
        if outcome is not None and await self._reported(self._finish(outcome)):
            return
        if not self._abandoned:
            await self._reported(self._lease.release())

    async def _reported(self, call: Awaitable[None]) -> bool:
        try:
            await call
        except Over:
            log.info("the run was no longer ours", **self._names)
            return False
        return True

    async def _executed(self) -> Outcome | None:
        """How the graph ended; None once the lease is over."""
        self._executing = executing = asyncio.create_task(self._execute(), name=f"graph {self._graph.name}")
        try:
            await asyncio.wait([executing])
        finally:
            executing.cancel()
        if self._over:
            return None
        if executing.cancelled():
            return Failed("CancelledError", "the graph cancelled itself")
        return None if isinstance(executing.exception(), Over) else executing.result()

    async def _execute(self) -> Outcome:
        try:
            start = await self._lease.start()
            context = Context(**start._asdict(), emit=self._emit)
            last = await self._graph.run(context, self._commit)
            return Succeeded(None if last is None else checked(last))
        except (Over, asyncio.CancelledError):
            raise
        except BaseException as error:
            if self._over:
                log.info("a stopped graph failed", error=repr(error), **self._names)
            else:
                log.exception("a graph failed", graph=self._graph.name, **self._names)
            return Failed(*describe(error))

    async def _commit(self, update: Any) -> None:
        await self._lease.commit(checked(update))

    async def _emit(self, channel: str, data: Json) -> None:
        await self._lease.emit(channel, checked(data))

    async def _finish(self, outcome: Outcome) -> None:
        try:
            await self._lease.finish(outcome)
        except self._lease.refusals as refused:  # what the graph returned; a step is refused where it is yielded
            names = {**self._names, "graph": self._graph.name}
            log.warning("what a graph returned was refused", error=str(refused), **names)
            await self._lease.finish(Failed(*describe(refused)))


def checked(update: Any) -> jsontext.Text:
    """What a graph gave as an update, as JSON text. Raises TypeError or ValueError that says what is wrong with it."""
    if not isinstance(update, Mapping):
        raise TypeError(f"a graph's update must be a dict, not {type(update).__name__}")
    return jsontext.dumps(update)


def describe(error: BaseException) -> tuple[str, str]:
    """The type and message of what a graph raised, as text that can be stored and sent."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - it is the graph's own __str__
        message = "its message cannot be shown"
    return type(error).__name__, message.encode(errors="replace").decode()[:10_000]
