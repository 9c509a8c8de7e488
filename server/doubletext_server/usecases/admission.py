"""Create a run: admit it, recognise a call that repeats an earlier one, and list the runs that it superseded."""

from collections.abc import Iterator
from typing import NamedTuple

from doubletext.jsontext import canonical
from doubletext_server.engine.changes import Changes
from doubletext_server.ids import run_id as new_run_id
from doubletext_server.store.protocol import LARGEST_PAGE, RunRecord, Store
from doubletext_server.usecases.digests import digest
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import EMPTY, Given, JsonObject
from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import RunNotFound
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.words import QueuePolicy, RunStatus, Strategy


class NewRun(NamedTuple):
    """The values of a CreateRun call.

    strategy    None for the thread's default, and then for the server's
    queue_policy  None for the thread's default, and then for the strategy's own
    expected_run_id  the run that must have started and not ended; None for whichever
    request_id  None for a call that is never repeated
    """

    thread_id: str
    assistant_id: str
    input: JsonObject = EMPTY
    metadata: JsonObject = EMPTY
    strategy: Given[Strategy | None] = None
    request_id: str | None = None
    create_thread: Given[bool | None] = False
    delay_us: Given[int | None] = None
    timeout_us: Given[int | None] = None
    queue_policy: Given[QueuePolicy | None] = None
    debounce_us: Given[int | None] = None
    max_wait_us: Given[int | None] = None
    start_within_us: Given[int | None] = None
    expected_run_id: str | None = None


class Admission(NamedTuple):
    """The result of a CreateRun call.

    run         the new run, or the run of the earlier call
    superseded  the runs that it ended
    repeated    whether the call repeats an earlier one
    joined      whether `run` was in flight, and the call made none
    """

    run: RunRecord | Tombstone
    superseded: list[RunRecord | Tombstone]
    repeated: bool
    joined: bool = False


class Admissions:
    def __init__(self, store: Store, changes: Changes, default_strategy: Strategy, max_queued_runs: int) -> None:
        self._store = store
        self._changes = changes
        self._default_strategy = default_strategy
        self._max_queued_runs = max_queued_runs

    async def admit(self, new: NewRun) -> Admission:
        command = self._command(new)
        decision = await self._changes.change(command)
        if decision.repeated is not None:
            repeated = await self._repeated(decision.repeated, command.thread_id)
            return repeated._replace(joined=decision.joins)
        assert isinstance(decision.run, Run)
        if decision.joins:
            found = await self._store.run(decision.run.run_id)
            return Admission(found or RunRecord(decision.run, None, None), [], repeated=False, joined=True)
        run = RunRecord(decision.run, command.input, command.metadata, decision.queue_position, merged=decision.merged)
        superseded = await self._superseded(decision) if decision.superseded else []
        return Admission(run, superseded, repeated=False)

    def _command(self, new: NewRun) -> commands.AdmitRun:
        fields = Fields()
        create_thread = fields.readable("if_thread_not_exists", new.create_thread)
        assistant_id = fields.id("assistant_id", new.assistant_id)
        thread_id = fields.id("thread_id", new.thread_id)
        input = fields.json("input", new.input)
        metadata = fields.metadata("metadata", new.metadata)
        strategy = fields.readable("multitask_strategy", new.strategy)
        request_id = fields.given_id("request_id", new.request_id)
        delay = fields.duration("delay", new.delay_us) or 0
        timeout = fields.duration("timeout", new.timeout_us, least_us=1)
        queue_policy = fields.readable("queue_policy", new.queue_policy)
        debounce = fields.duration("debounce", new.debounce_us, least_us=1)
        max_wait = fields.duration("max_wait", new.max_wait_us, least_us=1)
        start_within = fields.duration("start_within", new.start_within_us, least_us=1)
        expected_run_id = fields.given_id("expected_run_id", new.expected_run_id)
        if debounce is not None and delay:
            fields.wrong("debounce", "is given with `delay`; a run waits for messages, or for a time of its own")
        if max_wait is not None and debounce is None and not fields.is_wrong("max_wait"):
            fields.wrong("max_wait", "is given without `debounce`, whose waiting it ends")
        fields.check()
        waiting = (queue_policy and queue_policy.value, debounce, max_wait, start_within, expected_run_id)
        creates = bool(create_thread)
        return commands.AdmitRun(
            thread_id=thread_id,
            run_id=new_run_id(thread_id),
            assistant_id=assistant_id,
            assistant=self._store.assistant(assistant_id),
            input=input,
            metadata=metadata,
            strategy=strategy,
            default_strategy=self._default_strategy,
            max_queued_runs=self._max_queued_runs,
            request_id=request_id,
            digest=""
            if request_id is None
            else digest(
                *(assistant_id, canonical(input), canonical(metadata), strategy, creates, delay, timeout),
                *(waiting if any(waiting) else ()),
            ),
            create_thread=creates,
            delay=delay,
            timeout=timeout,
            queue_policy=queue_policy,
            debounce=debounce,
            max_wait=max_wait,
            start_within=start_within,
            expected_run_id=expected_run_id,
        )

    async def _repeated(self, run_id: str, thread_id: str) -> Admission:
        found = await self._store.run(run_id)
        if found is None:
            raise RunNotFound(run_id, thread_id)
        superseded = await self._store.superseded_by(run_id)
        return Admission(found, list(_fitting(superseded)), repeated=True)

    async def _superseded(self, decision: Decision) -> list[RunRecord | Tombstone]:
        """Return the runs as the decision left them. Inputs and metadata are read from the store."""
        kept: dict[str, RunRecord] = {}
        if decision.admitted and any(run.status is not RunStatus.DELETED for run in decision.superseded):
            records = await self._store.superseded_by(decision.admitted.run_id)
            kept = {record.run.run_id: record for record in _fitting(records) if isinstance(record, RunRecord)}
        return [kept.get(run.run_id) or RunRecord(run, None, None) for run in decision.superseded]


def _fitting(records: list[RunRecord | Tombstone]) -> Iterator[RunRecord | Tombstone]:
    """Yield the records; once inputs and metadata are too much for one answer, the rest come without them."""
    size = 0
    for record in records:
        if isinstance(record, RunRecord):
            size += len(record.input or "") + len(record.metadata or "")
            yield record if size <= LARGEST_PAGE else RunRecord(record.run, None, None)
        else:
            yield record
