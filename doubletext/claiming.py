"""The attempt at a claimed run: it executes the graph, and reports how that ended.

The server's own executor and the worker share it. They differ in the Lease through which it reaches the thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import structlog

from doubletext import jsontext
from doubletext.graph import Context, Graph, Json
from doubletext.outputs import Outputs, Shown

LARGEST_UPDATE: Final = (4 * 1024 - 64) * 1024
"""Bytes of JSON that a graph may give at once: less than a request may have, so that a worker can send it."""

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

    async def absorb(self) -> list[Json]:
        """Make what steers the run its next steps, and return it."""

    async def emit(self, shown: Sequence[Shown]) -> None:
        """Show outputs to whoever watches the run: all of them `live_only`, or none."""

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
        self._outputs = Outputs(lease.emit)
        self._over = False
        self._abandoned = False

    @property
    def executed(self) -> bool:
        """Whether the graph's code is over."""
        return self._executing is not None and self._executing.done()

    def stop(self) -> None:
        """Cancel the graph. The stop is acknowledged once its code is over."""
        self._over = True
        self._outputs.drop()
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
            context = Context(**start._asdict(), emit=self._emit, absorb=self._absorb)
            last = await self._graph.run(context, self._commit)
            outcome = Succeeded(None if last is None else checked(last))
            await self._outputs.flush()
            return outcome
        except (Over, asyncio.CancelledError):
            raise
        except BaseException as error:
            if self._over:
                log.info("a stopped graph failed", error=repr(error), **self._names)
            else:
                log.exception("a graph failed", graph=self._graph.name, **self._names)
            with suppress(Exception):  # the outputs from before the failure
                await self._outputs.flush()
            return Failed(*describe(error))

    async def _commit(self, update: Any) -> None:
        text = checked(update)
        await self._outputs.flush()
        await self._lease.commit(text)

    async def _absorb(self) -> list[Json]:
        if self._over:
            raise Over
        await self._outputs.flush()
        return await self._lease.absorb()

    async def _emit(self, channel: str, data: Json, live_only: bool) -> None:
        if self._over:
            raise Over
        await self._outputs.add(Shown(channel, checked(data), live_only))

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
    text = jsontext.dumps(update)
    if (size := len(text.encode())) > LARGEST_UPDATE:
        raise ValueError(f"a graph's update may have {LARGEST_UPDATE} bytes as JSON; this one has {size}")
    return text


def describe(error: BaseException) -> tuple[str, str]:
    """The type and message of what a graph raised, as text that can be stored and sent."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - it is the graph's own __str__
        message = "its message cannot be shown"
    return type(error).__name__, message.encode(errors="replace").decode()[:10_000]
