"""Edit the queue of a thread: change a run that waits, move it, and stop all runs at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from doubletext_server.engine.changes import Changes
from doubletext_server.store.protocol import RunRecord, Store
from doubletext_server.usecases.limits import MOST_STATUSES
from doubletext_server.usecases.runs import Runs
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import Given, JsonObject
from doubletext_statemachine import commands
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.words import IN_FLIGHT, CancelAction, Place, RunStatus


class Edit(NamedTuple):
    """The values of an UpdateRun call. None for what stays as it is."""

    input: JsonObject | None = None
    metadata: JsonObject | None = None
    delay_us: Given[int | None] = None
    timeout_us: Given[int | None] = None


class Editing:
    def __init__(self, store: Store, changes: Changes, runs: Runs) -> None:
        self._store = store
        self._changes = changes
        self._runs = runs

    async def update(
        self, run_id: str, edit: Edit, thread_id: str = "", expected_revision: int | None = None
    ) -> RunRecord:
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        input = None if edit.input is None else fields.json("input", edit.input)
        metadata = None if edit.metadata is None else fields.metadata("metadata", edit.metadata)
        delay = fields.duration("delay", edit.delay_us)
        timeout = fields.duration("timeout", edit.timeout_us, least_us=1)
        _check_revision(fields, expected_revision)
        fields.check()
        return await self._edited(
            run_id,
            thread_id,
            lambda thread: commands.UpdateRun(thread, run_id, input, metadata, delay, timeout, expected_revision),
        )

    async def move(
        self,
        run_id: str,
        place: Place | None,
        other: str | None = None,
        thread_id: str = "",
        expected_revision: int | None = None,
    ) -> RunRecord:
        """Move a run in the line of those that wait. other: the run that it is moved before or after."""
        fields = Fields()
        _check_key(fields, run_id, thread_id)
        if place is None:
            fields.wrong("place", "is required: first, last, before_run_id or after_run_id")
        elif place in (Place.BEFORE, Place.AFTER):
            fields.id(f"{place.value}_run_id", other or "")
        _check_revision(fields, expected_revision)
        fields.check()
        assert place is not None
        return await self._edited(
            run_id, thread_id, lambda thread: commands.MoveRun(thread, run_id, place, other, expected_revision)
        )

    async def _edited(self, run_id: str, thread_id: str, command: Callable[[str], commands.RunCommand]) -> RunRecord:
        record = await self._runs.get(run_id, thread_id)
        decision = await self._changes.change(command(record.run.thread_id))
        found = await self._store.run(run_id)
        assert isinstance(decision.run, Run)
        record = found if isinstance(found, RunRecord) else record
        return RunRecord(decision.run, record.input, record.metadata, decision.queue_position, merged=record.merged)

    async def cancel(
        self, thread_id: str, statuses: Sequence[Given[RunStatus]] = (), action: Given[CancelAction | None] = None
    ) -> list[RunRecord | Tombstone]:
        """Stop the runs in flight with one of the statuses, or all of them. They come without input and metadata."""
        fields = Fields()
        fields.id("thread_id", thread_id)
        fields.most("statuses", len(statuses), MOST_STATUSES, "statuses")
        wanted = frozenset(fields.each("statuses", statuses))
        for index, status in enumerate(statuses):
            if isinstance(status, RunStatus) and status not in IN_FLIGHT:
                fields.wrong(f"statuses[{index}]", f"is {status.name}; only PENDING and RUNNING can be cancelled")
        action = fields.readable("action", action) or CancelAction.INTERRUPT
        fields.check()
        decision = await self._changes.change(commands.CancelRuns(thread_id, wanted, action))
        return [RunRecord(run, None, None) for run in decision.cancelled]


def _check_key(fields: Fields, run_id: str, thread_id: str) -> None:
    fields.id("run_id", run_id)
    fields.optional_id("thread_id", thread_id)


def _check_revision(fields: Fields, revision: int | None) -> None:
    if revision is not None and revision < 0:
        fields.wrong("expected_revision", f"is {revision}; revisions are 0, 1, 2 …")
