"""`client.runs`: create runs on threads, read them, wait for them and stop them."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from doubletext import convert, types
from doubletext.calls import AS_TEXT, Connection
from doubletext.v1 import run_service_pb2 as pb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub

if TYPE_CHECKING:
    import builtins

    from doubletext.v1.run_service_pb2_grpc import RunServiceAsyncStub


class RunsClient:
    """Methods about one run take a thread id and a run id. With None as thread id, the run may be on any thread.

    These methods raise RunNotFound when there is no such run on that thread, and RunRolledBack when the run was rolled
    back.
    """

    def __init__(self, server: Connection) -> None:
        self._server = server
        self._stub: RunServiceAsyncStub = RunServiceStub(server.channel)

    async def create(
        self,
        thread_id: str,
        assistant_id: str,
        *,
        input: Mapping[str, Any] | None = None,
        multitask_strategy: types.MultitaskStrategy | None = None,
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        if_thread_not_exists: types.IfThreadNotExists | None = None,
        delay: float | None = None,
        timeout: float | None = None,
        queue_policy: types.QueuePolicy | None = None,
        debounce: float | None = None,
        max_wait: float | None = None,
        start_within: float | None = None,
        expected_run_id: str | None = None,
    ) -> types.CreatedRun:
        """Create a run, and apply its strategy to the runs in flight on the thread, in one commit.

        input                 a JSON object, the run's first step
        multitask_strategy    "reject", "interrupt", "rollback", "enqueue", "join" or "steer"; by default the
                              thread's default
        request_id            identifies this call on its thread: a repeated call changes nothing and returns the run of
                              the first call. By default the client makes one, so that its own retries are safe. Pass
                              one to be able to repeat the call after a crash.
        if_thread_not_exists  "create" creates the thread in the same commit
        delay                 seconds that must pass before the run starts
        timeout               seconds that one attempt may take; by default the assistant's run_timeout
        queue_policy          what becomes of the runs that wait: "keep", "supersede" or "merge"; by default the
                              thread's, else "keep" for "enqueue" and "supersede" for the others
        debounce              seconds that the run waits for further messages; only with "merge"
        max_wait              with debounce: seconds that the oldest message may wait in all
        start_within          seconds after its due time at which it ends "timeout" unless it has started
        expected_run_id       the run that must be running; RunChanged is raised if another one is, or none

        Raises ThreadBusy ("reject"), RunChanged, ThreadNotFound, AssistantNotFound, QueueFull, RequestIdReused,
        InvalidField.
        """
        request = pb.CreateRunRequest(
            thread_id=thread_id,
            assistant_id=assistant_id,
            input_json=convert.text(input),
            multitask_strategy=convert.STRATEGY.or_unspecified(multitask_strategy),
            metadata_json=convert.text(metadata),
            request_id=str(uuid.uuid4()) if request_id is None else request_id,
            if_thread_not_exists=convert.IF_THREAD_NOT_EXISTS.or_unspecified(if_thread_not_exists),
            delay=convert.duration(delay),
            timeout=convert.duration(timeout),
            queue_policy=convert.QUEUE_POLICY.or_unspecified(queue_policy),
            debounce=convert.duration(debounce),
            max_wait=convert.duration(max_wait),
            start_within=convert.duration(start_within),
            expected_run_id=expected_run_id,
        )
        response = await self._server.call(self._stub.CreateRun, request)
        superseded = [convert.run(run) for run in response.superseded]
        return {**convert.run(response.run), "superseded": superseded, "joined": response.joined}

    async def get(self, thread_id: str | None, run_id: str) -> types.Run:
        """Return the run as it is now."""
        request = pb.GetRunRequest(thread_id=thread_id or "", run_id=run_id)
        return convert.run((await self._server.call(self._stub.GetRun, request)).run)

    def list(
        self,
        thread_id: str,
        *,
        statuses: Sequence[types.RunStatus] = (),
        metadata: Mapping[str, Any] | None = None,
        oldest_first: bool = False,
        page_size: int = 0,
    ) -> AsyncIterator[types.Run]:
        """Iterate over the thread's runs, newest first unless `oldest_first`. Raises ThreadNotFound.

        statuses  only runs with one of these statuses; empty for all runs
        metadata  only runs whose metadata has each of these keys with an equal value
        """
        request = pb.ListRunsRequest(
            thread_id=thread_id,
            statuses=convert.RUN_STATUS.values(statuses),
            metadata_json=convert.text(metadata),
            oldest_first=oldest_first,
            page_size=page_size,
        )
        return self._server.pages(self._stub.ListRuns, request, lambda page: page.runs, convert.run)

    async def join(
        self, thread_id: str | None, run_id: str, *, wait: float | None = None, follow: bool = False
    ) -> types.Joined:
        """Wait until the run is final. Return the run and the thread's state as the run left it, never a later state.

        wait    seconds after which the run is returned as it is then; by default there is no limit
        follow  go on with the run that superseded it, or that it was merged into, and so on; the last one is returned

        A run that is rolled back during the call is returned at once, with status "deleted".
        """
        request = pb.JoinRunRequest(
            thread_id=thread_id or "", run_id=run_id, wait=convert.duration(wait), follow=follow
        )
        response = await self._server.call(self._stub.JoinRun, request)
        return {"run": convert.run(response.run), "state": convert.state(response.state)}

    async def cancel(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        action: types.CancelAction | None = None,
        wait: float | None = None,
    ) -> types.Run:
        """Stop a run in flight. The run is final when this returns. A run that is final already is returned unchanged.

        action  "interrupt", the default, keeps the run's steps; "rollback" deletes them
        wait    seconds to wait for the run's code to acknowledge the stop; by default there is no wait
        """
        request = pb.CancelRunRequest(
            thread_id=thread_id or "",
            run_id=run_id,
            action=convert.CANCEL_ACTION.or_unspecified(action),
            wait=convert.duration(wait),
        )
        return convert.run((await self._server.call(self._stub.CancelRun, request)).run)

    async def update(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        input: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        delay: float | None = None,
        timeout: float | None = None,
        expected_revision: int | None = None,
    ) -> types.Run:
        """Change what is given of a run that has not started.

        delay              seconds from now
        expected_revision  the revision that the run must have; by default whichever

        Raises RunStarted, RevisionChanged, InvalidField. The client does not retry.
        """
        request = pb.UpdateRunRequest(
            thread_id=thread_id or "",
            run_id=run_id,
            input_json=convert.text(input),
            metadata_json=convert.text(metadata),
            delay=convert.duration(delay),
            timeout=convert.duration(timeout),
            expected_revision=expected_revision,
        )
        return convert.run((await self._server.call(self._stub.UpdateRun, request)).run)

    async def move(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        first: bool = False,
        last: bool = False,
        before: str | None = None,
        after: str | None = None,
        expected_revision: int | None = None,
    ) -> types.Run:
        """Give a run that has not started another place among those that wait.

        Pass one of `first`, `last`, `before` and `after`; the latter two are ids of runs that wait.

        Raises ValueError for none or several of these; RunStarted, RevisionChanged. The client does not retry.
        """
        if sum((first, last, before is not None, after is not None)) != 1:
            raise ValueError("pass one of first, last, before and after")
        request = pb.MoveRunRequest(thread_id=thread_id or "", run_id=run_id, expected_revision=expected_revision)
        if before is not None or after is not None:
            setattr(request, "before_run_id" if after is None else "after_run_id", before or after)
        else:
            setattr(request, "first" if first else "last", True)
        return convert.run((await self._server.call(self._stub.MoveRun, request)).run)

    async def cancel_all(
        self,
        thread_id: str,
        *,
        statuses: Sequence[types.RunStatus] = (),
        action: types.CancelAction | None = None,
    ) -> "builtins.list[types.Run]":
        """Stop all runs in flight on a thread, in one commit. Return them, without their inputs and metadata.

        statuses  only runs that are "pending", or "running"; empty for both
        action    as for `cancel`

        The client does not retry.
        """
        request = pb.CancelRunsRequest(
            thread_id=thread_id,
            statuses=convert.RUN_STATUS.values(statuses),
            action=convert.CANCEL_ACTION.or_unspecified(action),
        )
        return [convert.run(run) for run in (await self._server.call(self._stub.CancelRuns, request)).runs]

    async def delete(self, thread_id: str | None, run_id: str) -> None:
        """Delete the record of a final run. The thread's steps stay. Raises RunInFlight. The client does not retry."""
        await self._server.call(self._stub.DeleteRun, pb.DeleteRunRequest(thread_id=thread_id or "", run_id=run_id))

    async def watch(
        self, thread_id: str | None, run_id: str, *, after_sequence: int = 0, live: bool = False
    ) -> AsyncGenerator[types.Event, None]:
        """Iterate over the run's events, each once, up to the event that makes the run final.

        after_sequence  only events after this one; 0 for all of them
        live            also what the run shows with `live_only`, at once: see types.Output

        When the connection breaks, the client connects again and goes on after the last event. Raises RunNotFound,
        RunRolledBack, and EventsTrimmed when some of these events are no longer kept.
        """
        events = self._server.watch(
            lambda after: self._stub.WatchRun(
                pb.WatchRunRequest(thread_id=thread_id or "", run_id=run_id, after_sequence=after, live=live),
                metadata=AS_TEXT,
            ),
            after_sequence,
        )
        async with aclosing(events):
            async for event in events:
                yield convert.event(event)
