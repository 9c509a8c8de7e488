"""`client.threads`: threads and their states."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from doubletext import convert, types
from doubletext.calls import AS_TEXT, Connection
from doubletext.v1 import thread_service_pb2 as pb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub

if TYPE_CHECKING:
    from doubletext.v1.thread_service_pb2_grpc import ThreadServiceAsyncStub


class ThreadsClient:
    """The methods about one thread raise ThreadNotFound when there is no such thread."""

    def __init__(self, server: Connection) -> None:
        self._server = server
        self._stub: ThreadServiceAsyncStub = ThreadServiceStub(server.channel)

    async def create(
        self,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        default_strategy: types.DefaultStrategy | None = None,
        max_queued_runs: int | None = None,
        default_queue_policy: types.DefaultQueuePolicy | None = None,
        on_failure: types.OnFailure | None = None,
    ) -> types.Thread:
        """Create an empty thread.

        thread_id         by default the server makes an id
        default_strategy  the strategy of runs that name none; by default the server's
        max_queued_runs   how many inputs may wait at once; 0 or None for the server's limit
        default_queue_policy  that of runs that name none and whose strategy may have it; by default the strategy's own
        on_failure        "hold": a run that ends "error" or "timeout" holds the thread

        Raises ThreadExists, InvalidField. The client does not retry.
        """
        request = pb.CreateThreadRequest(
            thread_id=thread_id,
            metadata_json=convert.text(metadata),
            default_strategy=convert.DEFAULT_STRATEGY.or_absent(default_strategy),
            max_queued_runs=max_queued_runs,
            default_queue_policy=convert.DEFAULT_QUEUE_POLICY.or_absent(default_queue_policy),
            on_failure=convert.ON_FAILURE.or_unspecified(on_failure),
        )
        return convert.thread((await self._server.call(self._stub.CreateThread, request)).thread)

    async def get(self, thread_id: str) -> types.Thread:
        """Return the thread as it is now, with its running run and the length of its queue."""
        return convert.thread(
            (await self._server.call(self._stub.GetThread, pb.GetThreadRequest(thread_id=thread_id))).thread
        )

    def list(
        self,
        *,
        statuses: Sequence[types.ThreadStatus] = (),
        metadata: Mapping[str, Any] | None = None,
        page_size: int = 0,
    ) -> AsyncIterator[types.Thread]:
        """Iterate over the threads, newest first.

        statuses  only threads with one of these statuses; empty for all threads
        metadata  only threads whose metadata has each of these keys with an equal value
        """
        request = pb.ListThreadsRequest(
            statuses=convert.THREAD_STATUS.values(statuses), metadata_json=convert.text(metadata), page_size=page_size
        )
        return self._server.pages(self._stub.ListThreads, request, lambda page: page.threads, convert.thread)

    async def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        default_strategy: types.DefaultStrategy | None = None,
        max_queued_runs: int | None = None,
        default_queue_policy: types.DefaultQueuePolicy | None = None,
        held: bool | None = None,
        on_failure: types.OnFailure | None = None,
    ) -> types.Thread:
        """Change the settings that are given.

        `held` holds at once, `on_failure` from the next run that fails on, the others from the next run that is created
        on; what runs goes on.

        metadata          replaces the old metadata as a whole
        default_strategy  "unspecified" for the server's default again
        max_queued_runs   0 for the server's limit again
        default_queue_policy  "unspecified" for the strategy's own again
        held              True starts no run on the thread, until False lets it go
        on_failure        "hold": a run that ends "error" or "timeout" holds the thread
        """
        request = pb.UpdateThreadRequest(
            thread_id=thread_id,
            metadata_json=convert.text(metadata),
            default_strategy=convert.DEFAULT_STRATEGY.or_absent(default_strategy),
            max_queued_runs=max_queued_runs,
            default_queue_policy=convert.DEFAULT_QUEUE_POLICY.or_absent(default_queue_policy),
            held=held,
            on_failure=convert.ON_FAILURE.or_absent(on_failure),
        )
        return convert.thread((await self._server.call(self._stub.UpdateThread, request)).thread)

    async def delete(self, thread_id: str) -> None:
        """Delete the thread with its states, runs and events. Its runs are stopped. The client does not retry."""
        await self._server.call(self._stub.DeleteThread, pb.DeleteThreadRequest(thread_id=thread_id))

    async def get_state(self, thread_id: str, step: int | None = None) -> types.State:
        """Return the state after `step`: by default the newest state, for 0 the empty one. Raises StepNotFound."""
        request = pb.GetStateRequest(thread_id=thread_id, step=step)
        return convert.state((await self._server.call(self._stub.GetState, request)).state)

    def list_states(self, thread_id: str, *, page_size: int = 0) -> AsyncIterator[types.State]:
        """Iterate over the thread's states, newest first, down to step 1."""
        request = pb.ListStatesRequest(thread_id=thread_id, page_size=page_size)
        return self._server.pages(self._stub.ListStates, request, lambda page: page.states, convert.state)

    async def update_state(
        self, thread_id: str, values: Mapping[str, Any], *, assistant_id: str | None = None
    ) -> types.State:
        """Add one step to the thread without a run, and return the state after it.

        values        a JSON object, the step's update
        assistant_id  the assistant whose reducers apply; by default the default reducers

        Raises ThreadBusy while a run is in flight, AssistantNotFound. The client does not retry.
        """
        request = pb.UpdateStateRequest(
            thread_id=thread_id, values_json=convert.text(values), assistant_id=assistant_id
        )
        return convert.state((await self._server.call(self._stub.UpdateState, request)).state)

    async def watch(
        self, thread_id: str, *, after_sequence: int = 0, live: bool = False
    ) -> AsyncGenerator[types.Event, None]:
        """Iterate over the thread's events, each once: first the events that exist, then each new one.

        after_sequence  only events after this one; 0 for all of them
        live            also what runs show with `live_only`, at once: see types.Output

        When the connection breaks, the client connects again and goes on after the last event. Raises ThreadNotFound
        when the thread is deleted, and EventsTrimmed when some of these events are no longer kept.
        """
        events = self._server.watch(
            lambda after: self._stub.WatchThread(
                pb.WatchThreadRequest(thread_id=thread_id, after_sequence=after, live=live), metadata=AS_TEXT
            ),
            after_sequence,
        )
        async with aclosing(events):
            async for event in events:
                yield convert.event(event)
