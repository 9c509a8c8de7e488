"""`client.threads`: conversations and their states."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc

from doubletext import convert, types
from doubletext.calls import call, pages, watch
from doubletext.v1 import thread_service_pb2 as pb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub

if TYPE_CHECKING:
    from doubletext.v1.thread_service_pb2_grpc import ThreadServiceAsyncStub


class ThreadsClient:
    """Every method with a thread id raises ThreadNotFound when there is none of that id."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: ThreadServiceAsyncStub = ThreadServiceStub(channel)

    async def create(
        self,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        default_strategy: types.DefaultStrategy | None = None,
        max_queued_runs: int | None = None,
    ) -> types.Thread:
        """Start an empty conversation.

        default_strategy  what a new run does when it names no strategy; the server's by default
        max_queued_runs   how many runs may be pending at once; 0 or None leaves it to the server's limit

        Raises ThreadExists, InvalidField. Not retried.
        """
        request = pb.CreateThreadRequest(
            thread_id=thread_id,
            metadata=convert.struct(metadata),
            default_strategy=convert.DEFAULT_STRATEGY.or_absent(default_strategy),
            max_queued_runs=max_queued_runs,
        )
        return convert.thread((await call(self._stub.CreateThread, request)).thread)

    async def get(self, thread_id: str) -> types.Thread:
        """Return the thread as it now is, with its running run and the length of its queue."""
        return convert.thread((await call(self._stub.GetThread, pb.GetThreadRequest(thread_id=thread_id))).thread)

    def list(
        self,
        *,
        statuses: Sequence[types.ThreadStatus] = (),
        metadata: Mapping[str, Any] | None = None,
        page_size: int = 0,
    ) -> AsyncIterator[types.Thread]:
        """Iterate over the threads with any of `statuses` (with none given: all), newest first.

        metadata  only threads whose metadata has each of these keys with an equal value
        """
        request = pb.ListThreadsRequest(
            statuses=convert.THREAD_STATUS.values(statuses), metadata=convert.struct(metadata), page_size=page_size
        )
        return pages(self._stub.ListThreads, request, lambda page: page.threads, convert.thread)

    async def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        default_strategy: types.DefaultStrategy | None = None,
        max_queued_runs: int | None = None,
    ) -> types.Thread:
        """Change what is given and leave the rest. It holds for the next run; those in flight go on.

        metadata takes the old one's place as a whole; default_strategy "unspecified" and max_queued_runs 0 go back to
        the server's.
        """
        request = pb.UpdateThreadRequest(
            thread_id=thread_id,
            metadata=convert.struct(metadata),
            default_strategy=convert.DEFAULT_STRATEGY.or_absent(default_strategy),
            max_queued_runs=max_queued_runs,
        )
        return convert.thread((await call(self._stub.UpdateThread, request)).thread)

    async def delete(self, thread_id: str) -> None:
        """Delete the thread with its states, runs and events; what runs there is stopped. Not retried."""
        await call(self._stub.DeleteThread, pb.DeleteThreadRequest(thread_id=thread_id))

    async def get_state(self, thread_id: str, step: int | None = None) -> types.State:
        """Return the state after `step`; the newest by default, the empty one for 0. Raises StepNotFound."""
        request = pb.GetStateRequest(thread_id=thread_id, step=step)
        return convert.state((await call(self._stub.GetState, request)).state)

    def list_states(self, thread_id: str, *, page_size: int = 0) -> AsyncIterator[types.State]:
        """Iterate over the thread's states, newest first, down to step 1."""
        request = pb.ListStatesRequest(thread_id=thread_id, page_size=page_size)
        return pages(self._stub.ListStates, request, lambda page: page.states, convert.state)

    async def update_state(
        self, thread_id: str, values: Mapping[str, Any], *, assistant_id: str | None = None
    ) -> types.State:
        """Make one step by hand and return the state after it.

        values        a JSON object; joined to the state by the assistant's reducers
        assistant_id  whose; the default reducers without

        Raises ThreadBusy while a run is in flight, AssistantNotFound. Not retried.
        """
        request = pb.UpdateStateRequest(thread_id=thread_id, values=convert.struct(values), assistant_id=assistant_id)
        return convert.state((await call(self._stub.UpdateState, request)).state)

    async def watch(self, thread_id: str, *, after_sequence: int = 0) -> AsyncGenerator[types.Event, None]:
        """Iterate over the thread's events after a sequence (0: all of them), then over those to come, each once.

        A connection that is lost is made anew, and the events go on where they stopped. Raises ThreadNotFound when the
        thread is deleted, EventsTrimmed when events asked for are no longer kept.
        """
        events = watch(
            lambda after: self._stub.WatchThread(pb.WatchThreadRequest(thread_id=thread_id, after_sequence=after)),
            after_sequence,
        )
        async with aclosing(events):
            async for event in events:
                yield convert.event(event)
