"""What a client was told, call by call, and the one call that got no answer: all that a crash may not undo."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import grpc

from doubletext import (
    AssistantExists,
    Client,
    RunNotFound,
    ThreadBusy,
    ThreadExists,
    ThreadNotFound,
    convert,
)
from doubletext.calls import Connection
from doubletext.errors import from_rpc_error
from doubletext.structs import to_struct
from doubletext.types import Event
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import thread_service_pb2
from doubletext.v1 import worker_service_pb2 as worker
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.support.server import said

BY_HAND: Final = "by-hand"
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Thread:
    """A thread as it was told of.

    runs      what the accepted ones were given to say, by id
    ends      status and superseded_by of those that are final
    states    values by step, as finished runs and updates by hand left them; none of these steps is ever cut off
    steps     run and text of the steps that a worker was told are there
    removed   runs whose records were deleted
    asked     what a call that has begun would take away: run ids, or the thread's own
    """

    runs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)
    states: dict[int, Any] = field(default_factory=dict)
    steps: dict[int, tuple[str, str]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    updates: int = 0
    events: list[Event] = field(default_factory=list)
    deleted: bool = False


@dataclass
class Told:
    """`open`: the call under way: its method's name and arguments. `calls`: how many were answered."""

    threads: dict[str, Thread] = field(default_factory=dict)
    assistants: set[str] = field(default_factory=set)
    open: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
    calls: int = 0


class Once(Client):
    """A client that makes each call once, on a connection of its own."""

    @cached_property
    def _connection(self) -> Connection:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        return Connection(grpc.aio.insecure_channel(self._target, options), retry_for=0)

    @property
    def channel(self) -> grpc.aio.Channel:
        return self._connection.channel


def call(
    method: "Callable[Concatenate[Caller, P], Coroutine[Any, Any, T]]",
) -> "Callable[Concatenate[Caller, P], Coroutine[Any, Any, T]]":
    """Let the method's call be known as the one under way until it was answered."""

    @wraps(method)
    async def called(self: "Caller", /, *arguments: P.args, **options: P.kwargs) -> T:
        self.told.open = (method.__name__, arguments, options)
        answer = await method(self, *arguments, **options)
        self.told.open = None
        self.told.calls += 1
        return answer

    return called


NOT_REPEATED: Final = ("update_state", "claim", "publish", "refused_run", "refused_update")
"""Calls that a client cannot safely repeat, and may have happened or not; and calls that would not be refused now."""


class Caller:
    """Makes calls and notes their answers. `repeats`: the call is made again, and may have happened."""

    def __init__(self, client: Once, told: Told, *, repeats: bool = False) -> None:
        self.client = client
        self.told = told
        self.repeats = repeats
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    async def repeat(self) -> None:
        """Make the call that got no answer again."""
        if self.told.open is None or self.told.open[0] in NOT_REPEATED:
            return
        name, arguments, options = self.told.open
        await getattr(self, name)(*arguments, **options)

    # Assistants and threads

    @call
    async def create_assistant(self, assistant_id: str) -> None:
        try:
            await self.client.assistants.create(assistant_id, assistant_id=assistant_id, stop_grace=0)
        except AssistantExists:
            assert self.repeats
        self.told.assistants.add(assistant_id)

    @call
    async def create_thread(self, thread_id: str) -> None:
        try:
            await self.client.threads.create(thread_id)
        except ThreadExists:
            assert self.repeats
        self.told.threads[thread_id] = Thread()

    @call
    async def delete_thread(self, thread_id: str) -> None:
        thread = self.told.threads[thread_id]
        thread.asked.add(thread_id)
        try:
            await self.client.threads.delete(thread_id)
        except ThreadNotFound:
            assert self.repeats
        thread.deleted = True

    @call
    async def update_state(self, thread_id: str, values: dict[str, str]) -> None:
        thread = self.told.threads[thread_id]
        state = await self.client.threads.update_state(thread_id, values)
        thread.states[state["step"]] = state["values"]
        thread.updates += 1

    # Runs

    @call
    async def run(
        self,
        thread_id: str,
        name: str,
        strategy: Any = None,
        assistant: str = "held",
        *,
        steps: int = 1,
        hold: bool = False,
        delay: float | None = None,
    ) -> str:
        """Create a run and return its id. Its request id is its name, so that a second call repeats the first."""
        thread, text = self.told.threads[thread_id], f"<{thread_id}.{name}>"
        run = await self.client.runs.create(
            thread_id,
            assistant,
            input={"steps": steps, "hold": hold, **said(text)},
            multitask_strategy=strategy,
            request_id=name,
            delay=delay,
        )
        assert thread.runs.get(run["run_id"]) in (None, text)
        thread.runs[run["run_id"]] = text
        for ended in run["superseded"]:
            thread.ends[ended["run_id"]] = (ended["status"], ended["superseded_by"])
        return run["run_id"]

    @call
    async def refused_run(self, thread_id: str, name: str) -> None:
        with refused(ThreadBusy):
            await self.client.runs.create(thread_id, "echo", multitask_strategy="reject", request_id=name)

    @call
    async def refused_update(self, thread_id: str) -> None:
        with refused(ThreadBusy):
            await self.client.threads.update_state(thread_id, {"refused": True})

    @call
    async def join(self, thread_id: str, run_id: str) -> None:
        joined = await self.client.runs.join(thread_id, run_id)
        run, thread = joined["run"], self.told.threads[thread_id]
        thread.ends[run_id] = (run["status"], run["superseded_by"])
        if run["status"] == "success":
            thread.states[joined["state"]["step"]] = joined["state"]["values"]

    @call
    async def cancel(self, thread_id: str, run_id: str, action: Any = None) -> None:
        run = await self.client.runs.cancel(thread_id, run_id, action=action)
        self.told.threads[thread_id].ends[run_id] = (run["status"], run["superseded_by"])

    @call
    async def delete_run(self, thread_id: str, run_id: str) -> None:
        thread = self.told.threads[thread_id]
        thread.asked.add(run_id)
        try:
            await self.client.runs.delete(thread_id, run_id)
        except RunNotFound:
            assert self.repeats
        thread.removed.add(run_id)

    # A worker's calls

    @call
    async def claim(self) -> Any:
        request = worker.ClaimRunRequest(worker_id="hand", graphs=[BY_HAND], wait=convert.duration(5))
        answer = await answered(WorkerServiceStub(self.client.channel).ClaimRun(request))
        return answer.assignment

    @call
    async def commit_step(self, thread_id: str, lease: worker.Lease, text: str, expected_step: int) -> None:
        update = to_struct({"messages": [{"role": "assistant", "content": text}]})
        request = worker.CommitStepRequest(lease=lease, update=update, expected_step=expected_step)
        answer = await answered(WorkerServiceStub(self.client.channel).CommitStep(request))
        assert answer.step == expected_step
        self.told.threads[thread_id].steps[expected_step] = (lease.run_id, text)

    @call
    async def publish(self, lease: worker.Lease, outputs: int) -> None:
        output = resources.Output(channel="progress", data=to_struct({"text": "x"}))
        request = worker.PublishOutputRequest(lease=lease, outputs=[output] * outputs)
        await answered(WorkerServiceStub(self.client.channel).PublishOutput(request))

    @call
    async def finish(self, thread_id: str, lease: worker.Lease) -> None:
        request = worker.FinishRunRequest(lease=lease, success=worker.Success())
        answer = await answered(WorkerServiceStub(self.client.channel).FinishRun(request))
        assert convert.run(answer.run)["status"] == "success"
        self.told.threads[thread_id].ends[lease.run_id] = ("success", "")

    # What a watcher is told

    def watch(self, thread_id: str) -> None:
        self._watches[thread_id] = asyncio.create_task(self._watch(thread_id, self.told.threads[thread_id].events))

    async def _watch(self, thread_id: str, events: list[Event]) -> None:
        request = thread_service_pb2.WatchThreadRequest(thread_id=thread_id)
        try:
            async for response in ThreadServiceStub(self.client.channel).WatchThread(request):
                events.append(convert.event(response.event))
                async with self._came:
                    self._came.notify_all()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            async with self._came:
                self._came.notify_all()

    async def at_step(self, thread_id: str, step: int) -> None:
        """Wait until the thread's watcher is told of the step. Raises what ends the watch before."""
        events, watch = self.told.threads[thread_id].events, self._watches[thread_id]

        def there() -> bool:
            return watch.done() or any(each.get("step_committed", {}).get("step") == step for each in events)

        async with self._came:
            await self._came.wait_for(there)
        if watch.done():
            await watch


@contextmanager
def refused(by: type[Exception]) -> Iterator[None]:
    try:
        yield
    except by:
        return
    raise AssertionError(f"{by.__name__} was expected, and the call was accepted")


async def answered(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
