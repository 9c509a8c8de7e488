"""Outputs for those who watch now: shown at once, and kept together a little later.

Each such output is a part. Its number is its attempt's epoch times 2^32, plus 1, 2, 3 … The parts of a tenth of a
second are committed as one output, a list, which all readers get; so a reader who is too slow for the parts misses
nothing. What a run shows after its end is refused. What it showed in the tenth of a second before it was stopped may
not be kept.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeAlias

import structlog

from doubletext_server.clock import Clock
from doubletext_server.engine.changes import Changes
from doubletext_server.engine.eventlog import EventPage
from doubletext_server.engine.leases import HeldLeases
from doubletext_server.store.protocol import EventRecord, Store
from doubletext_statemachine.commands import PublishOutput
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import LeaseLost, NotReady
from doubletext_statemachine.model import Event, Output
from doubletext_statemachine.words import RunStatus

TOGETHER_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
MOST_BYTES: Final = 1024 * 1024
MOST_PARTS: Final = 1000
FIRST_OF_EPOCH: Final = 2**32
BACKLOG: Final = 1000
"""How many calls' parts wait for a reader at most. What comes then, the reader gets when it is kept."""

LiveParts: TypeAlias = "asyncio.Queue[EventPage]"

log = structlog.get_logger("live")


class _Shown:
    """What one attempt has shown and is not kept yet, and the number of its last part."""

    def __init__(self, command: PublishOutput, last_part: int) -> None:
        self.command = replace(command, outputs=())
        self.last_part = last_part
        self.outputs: list[Output] = []
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None
        self.keeping = asyncio.Lock()


class LiveOutputs:
    def __init__(self, store: Store, changes: Changes, held: HeldLeases, clock: Clock) -> None:
        self._store = store
        self._changes = changes
        self._held = held
        self._clock = clock
        self._shown: dict[str, _Shown] = {}
        self._watching: dict[str, dict[LiveParts, str | None]] = {}  # by thread, with the run that is watched
        self._tasks: set[asyncio.Task[None]] = set()

    async def publish(self, command: PublishOutput) -> None:
        """Show the outputs. Raises LeaseLost, and NotReady, before anything is shown."""
        shown = self._shown.get(command.run_id)
        if shown is not None and (shown.size >= MOST_BYTES or len(shown.outputs) >= MOST_PARTS):
            await self.keep(command.run_id)
        last = 0 if shown is not None else await self._store.last_part(command.run_id)
        if not self._holds_lease(command):  # looked at last: the run may have been stopped meanwhile
            await self._changes.change(replace(command, outputs=()))  # refuses it, unless the lease is not known here
        if (shown := self._shown.get(command.run_id)) is None:
            shown = self._shown[command.run_id] = _Shown(command, max(last, command.epoch * FIRST_OF_EPOCH))
        self._show(shown, command.outputs)
        if shown.timer is None:
            shown.timer = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._keep_soon, command.run_id)

    def _holds_lease(self, command: PublishOutput) -> bool:
        run = self._held.run(command.run_id)
        if run is None or run.epoch != command.epoch or (command.by_worker and run.worker_id is None):
            return False
        return run.lease_expires is None or run.lease_expires > self._clock()

    def _show(self, shown: _Shown, outputs: tuple[Output, ...]) -> None:
        records = []
        for output in outputs:
            shown.last_part += 1
            shown.size += len(output.data)
            part = replace(output, part=shown.last_part)
            shown.outputs.append(part)
            records.append(EventRecord(Event(0, shown.command.run_id, part), self._clock(), part.data))
        page = EventPage(shown.command.thread_id, records)
        for parts, run_id in self._watching.get(shown.command.thread_id, {}).items():
            if run_id in (None, shown.command.run_id):
                with suppress(asyncio.QueueFull):
                    parts.put_nowait(page)

    def _keep_soon(self, run_id: str) -> None:
        task = asyncio.create_task(self._keep_for_itself(run_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_for_itself(self, run_id: str) -> None:
        try:
            await self.keep(run_id)
        except NotReady as error:
            log.warning("outputs will be kept later", run_id=run_id, error=str(error))
            if (shown := self._shown.get(run_id)) is not None:
                shown.timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._keep_soon, run_id)

    async def keep(self, run_id: str) -> None:
        """Commit what the run has shown: before its next step, its next kept output, and its end. Raises NotReady."""
        shown = self._shown.get(run_id)
        if shown is None or (not shown.outputs and not shown.keeping.locked()):
            return
        async with shown.keeping:
            if shown.timer is not None:
                shown.timer.cancel()
                shown.timer = None
            outputs, shown.outputs, shown.size = shown.outputs, [], 0
            if not outputs:
                return
            try:
                await self._changes.change(replace(shown.command, outputs=_together(outputs)))
            except LeaseLost:
                self._shown.pop(run_id, None)
            except NotReady:
                shown.outputs = outputs + shown.outputs
                shown.size = sum(len(output.data) for output in shown.outputs)
                raise

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        """Forget the runs that are no longer in execution."""
        for run in decision.moved:
            shown = None if run.status is RunStatus.RUNNING else self._shown.pop(run.run_id, None)
            if shown is not None and shown.timer is not None:
                shown.timer.cancel()

    async def watched(
        self, pages: AsyncGenerator[EventPage, None], thread_id: str, run_id: str | None
    ) -> AsyncGenerator[EventPage, None]:
        """Yield the pages, and between them the parts that are shown from now on, of one run or of all."""
        with self._parts(thread_id, run_id) as parts:
            async with aclosing(pages):
                page, part = asyncio.ensure_future(anext(pages, None)), asyncio.ensure_future(parts.get())
                try:
                    while True:
                        await asyncio.wait([page, part], return_when=asyncio.FIRST_COMPLETED)
                        if part.done():
                            yield part.result()
                            part = asyncio.ensure_future(parts.get())
                        if page.done():
                            if (found := page.result()) is None:
                                return
                            yield found
                            page = asyncio.ensure_future(anext(pages, None))
                finally:
                    for each in (page, part):
                        each.cancel()
                    await asyncio.wait([page, part])

    @contextmanager
    def _parts(self, thread_id: str, run_id: str | None) -> Iterator[LiveParts]:
        parts: LiveParts = asyncio.Queue(BACKLOG)
        watching = self._watching.setdefault(thread_id, {})
        watching[parts] = run_id
        try:
            yield parts
        finally:
            del watching[parts]
            if not watching:
                self._watching.pop(thread_id, None)

    async def close(self) -> None:
        """Commit what was shown."""
        for run_id in list(self._shown):
            with suppress(NotReady):
                await self.keep(run_id)


def _together(parts: list[Output]) -> tuple[Output, ...]:
    """Make one output of the parts that follow each other on one channel."""
    found = []
    for channel, group in groupby(parts, key=lambda part: part.channel):
        outputs = list(group)
        texts = ",".join(output.data for output in outputs)
        found.append(Output(channel, f"[{texts}]", first_part=outputs[0].part, last_part=outputs[-1].part))
    return tuple(found)
