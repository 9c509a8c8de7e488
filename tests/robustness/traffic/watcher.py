"""Watches one thread id all along, and writes down the events of each of its lives, with the time at which each came.

After a break it reads the thread's events from the first on: by that one a life is told from another, and what was told
before must be told again.
"""

import asyncio
from contextlib import suppress
from typing import Any

import grpc

from doubletext import convert
from doubletext.v1 import thread_service_pb2 as pb
from doubletext.v1.thread_service_pb2_grpc import ThreadServiceStub
from tests.robustness.history.history import Json
from tests.robustness.history.recorder import Recorder

PAUSE = 0.05


def channel(address: str) -> grpc.aio.Channel:
    """One that looks again soon for a server that was killed."""
    soon = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    return grpc.aio.insecure_channel(address, soon)


class Watcher:
    def __init__(self, thread: str, channel: grpc.aio.Channel, recorder: Recorder) -> None:
        self.thread = thread
        self.events: list[Json] = []
        self._told: dict[int, Json] = {}
        self.life = 0
        self._stub: Any = ThreadServiceStub(channel)
        self._recorder = recorder
        self._more = asyncio.Event()

    async def run(self, over: asyncio.Event) -> None:
        """Watch until it is over."""
        while not over.is_set():
            watching = asyncio.create_task(self._stream())
            ending = asyncio.create_task(over.wait())
            await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, ending):
                task.cancel()
            await asyncio.gather(watching, ending, return_exceptions=True)
            if not watching.cancelled() and (error := watching.exception()) is not None:
                raise error
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), PAUSE)

    async def _stream(self) -> None:
        stream = self._stub.WatchThread(pb.WatchThreadRequest(thread_id=self.thread))
        place = 0
        try:
            async for response in stream:
                place += 1
                self._on_commit(dict(convert.event(response.event)), place)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                self._note("stream ended")
            elif self.events:
                self._gone()
        finally:
            stream.cancel()

    def _on_commit(self, event: Json, place: int) -> None:
        if place == 1:
            if self.events and not _same(self.events[0], event):
                self._gone()
            self._note("stream open")
        # Not by its place: of a thread that is deleted while its events are read again, the rest is its end alone.
        earlier = self._told.get(event["sequence"])
        if earlier is None:
            self.events.append(event)
            self._told[event["sequence"]] = event
            self._recorder.on_commit(event, thread=self.thread, life=self.life)
            self._more.set()
        elif not _same(earlier, event):
            self._note("told otherwise", event=event)

    def _gone(self) -> None:
        self._note("gone")
        self.life += 1
        self.events = []
        self._told = {}

    def _note(self, kind: str, **what: Any) -> None:
        self._recorder.note(kind, thread=self.thread, life=self.life, **what)

    async def is_up_to_date(self) -> bool:
        """Whether the life that is watched is the one that the thread now has."""
        stream = self._stub.WatchThread(pb.WatchThreadRequest(thread_id=self.thread))
        try:
            response = await asyncio.wait_for(stream.read(), 2)
        except (grpc.aio.AioRpcError, TimeoutError):
            return False
        finally:
            stream.cancel()
        if not isinstance(response, pb.WatchThreadResponse):
            return False
        return bool(self.events) and _same(self.events[0], dict(convert.event(response.event)))

    async def until_told_of(self, tag: str) -> None:
        """Wait for the step by hand of this tag."""
        while not any(_by_hand(event) == tag for event in reversed(self.events)):
            self._more.clear()
            await self._more.wait()


def _by_hand(event: Json) -> Any:
    update = event.get("step_committed", {}).get("update") or {}
    return update.get("by hand")


def _same(event: Json, again: Json) -> bool:
    """Whether an event is the one told before; what a run did is no longer told once it was rolled back."""
    return _stripped(event, again) == again


def _stripped(event: Json, again: Json) -> Json:
    for kind, content in (("step_committed", "update"), ("output", "data")):
        if kind in event and kind in again and again[kind][content] is None:
            return {**event, kind: {**event[kind], content: None}}
    return event
