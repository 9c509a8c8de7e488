"""Create, read, change and delete threads; read and update their states; watch their events."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from uuid6 import uuid7

from doubletext_server.engine.changes import Changes
from doubletext_server.engine.eventlog import EventLog, EventPage
from doubletext_server.engine.live import LiveOutputs
from doubletext_server.store.protocol import State, Store, ThreadRecord
from doubletext_server.usecases.assistants import existing
from doubletext_server.usecases.limits import LONGEST_QUEUE, MOST_FILTERS
from doubletext_server.usecases.paging import Listing, PageRequest, Pages
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import EMPTY, UNCHANGED, Given, JsonObject, Unchanged
from doubletext_statemachine import commands
from doubletext_statemachine.model import DEFAULT_REDUCERS
from doubletext_statemachine.words import OnFailure, QueuePolicy, Strategy, ThreadStatus


class Threads:
    def __init__(self, store: Store, changes: Changes, events: EventLog, live: LiveOutputs) -> None:
        self._live = live
        self._store = store
        self._changes = changes
        self._events = events

    async def create(
        self,
        thread_id: str | None = None,
        metadata: JsonObject = EMPTY,
        default_strategy: Given[Strategy | None] = None,
        max_queued_runs: int = 0,
        default_queue_policy: Given[QueuePolicy | None] = None,
        on_failure: Given[OnFailure | None] = None,
    ) -> ThreadRecord:
        """Create an empty thread.

        thread_id         None: the service makes an id
        default_strategy  None: the server's default
        max_queued_runs   0: the server's limit
        """
        fields = Fields()
        command = commands.CreateThread(
            fields.given_id("thread_id", thread_id) or str(uuid7()),
            fields.metadata("metadata", metadata),
            fields.readable("default_strategy", default_strategy),
            _limit(fields, max_queued_runs),
            fields.readable("default_queue_policy", default_queue_policy),
            fields.readable("on_failure", on_failure),
        )
        fields.check()
        decision = await self._changes.change(command)
        assert decision.thread is not None
        # Not read from the store: by now the thread may be deleted.
        return ThreadRecord(decision.thread, ThreadStatus.IDLE, None, 0)

    async def get(self, thread_id: str) -> ThreadRecord:
        fields = Fields()
        fields.id("thread_id", thread_id)
        fields.check()
        return await self._store.thread(thread_id)

    async def list(
        self, statuses: Sequence[Given[ThreadStatus]], metadata: JsonObject, page: PageRequest
    ) -> Listing[ThreadRecord]:
        """List the threads, newest first.

        statuses  only threads with one of these statuses; empty: all threads
        metadata  only threads whose metadata has each of these keys with an equal value
        """
        fields = Fields()
        wanted = fields.each("statuses", statuses)
        filters = fields.metadata("metadata", metadata, MOST_FILTERS)
        binding = ("threads", sorted(status.value for status in wanted), filters)
        pages = Pages(*binding, shape=(int, str), most=1000, default=100)
        size, after = pages.read(fields, page)
        return pages.listing(await self._store.threads(wanted, size, after, filters))

    async def update(
        self,
        thread_id: str,
        metadata: JsonObject | Unchanged = UNCHANGED,
        default_strategy: Given[Strategy | Unchanged | None] = UNCHANGED,
        max_queued_runs: int | Unchanged = UNCHANGED,
        default_queue_policy: Given[QueuePolicy | Unchanged | None] = UNCHANGED,
        held: bool | Unchanged = UNCHANGED,
        on_failure: Given[OnFailure | Unchanged | None] = UNCHANGED,
    ) -> ThreadRecord:
        fields = Fields()
        fields.id("thread_id", thread_id)
        changes: dict[str, Any] = {}
        if default_strategy is not UNCHANGED:
            changes["default_strategy"] = fields.readable("default_strategy", default_strategy)
        if max_queued_runs is not UNCHANGED:
            changes["max_queued_runs"] = _limit(fields, max_queued_runs)
        if default_queue_policy is not UNCHANGED:
            changes["default_queue_policy"] = fields.readable("default_queue_policy", default_queue_policy)
        if held is not UNCHANGED:
            changes["held"] = held
        if on_failure is not UNCHANGED:
            changes["on_failure"] = fields.readable("on_failure", on_failure)
        if metadata is not UNCHANGED:
            changes["metadata"] = fields.metadata("metadata", metadata)
        fields.check()
        await self._changes.change(commands.UpdateThread(thread_id, changes))
        return await self._store.thread(thread_id)

    async def delete(self, thread_id: str) -> None:
        fields = Fields()
        fields.id("thread_id", thread_id)
        fields.check()
        await self._changes.change(commands.DeleteThread(thread_id))

    async def state(self, thread_id: str, step: int | None = None) -> State:
        """Return the state after a step. None: the newest state."""
        fields = Fields()
        fields.id("thread_id", thread_id)
        if step is not None and step < 0:
            fields.wrong("step", f"is {step}; steps are 0, 1, 2 …")
        fields.check()
        return await self._store.state(thread_id, step)

    async def states(self, thread_id: str, page: PageRequest) -> Listing[State]:
        """List the states, newest first, down to step 1."""
        fields = Fields()
        fields.id("thread_id", thread_id)
        pages = Pages("states", thread_id, shape=(int,), most=100, default=20)
        size, after = pages.read(fields, page)
        return pages.listing(await self._store.states(thread_id, size, after))

    async def update_state(self, thread_id: str, values: JsonObject | None, assistant_id: str | None = None) -> State:
        """Commit `values` as a step, and return the state after it.

        assistant_id  the assistant whose reducers apply; None: the default reducers
        """
        fields = Fields()
        fields.id("thread_id", thread_id)
        fields.given_id("assistant_id", assistant_id)
        update = fields.required_json("values", values, "the update")
        fields.check()
        reducers = DEFAULT_REDUCERS if assistant_id is None else existing(self._store, assistant_id).reducers
        decision = await self._changes.change(commands.UpdateState(thread_id, update, reducers))
        return await self._store.state(thread_id, decision.steps[-1].step)

    async def watch(
        self, thread_id: str, after_sequence: int = 0, *, live: bool = False
    ) -> AsyncGenerator[EventPage, None]:
        """Return a stream of the thread's events after a sequence. live: and of what its runs show meanwhile.

        The stream raises ThreadNotFound when the thread is deleted.
        """
        fields = Fields()
        fields.id("thread_id", thread_id)
        fields.sequence("after_sequence", after_sequence)
        fields.check()
        pages = self._events.of_thread(thread_id, after_sequence)
        return self._live.watched(pages, thread_id, None) if live else pages


def _limit(fields: Fields, max_queued_runs: int) -> int | None:
    return fields.count("max_queued_runs", max_queued_runs, LONGEST_QUEUE, 0) or None
