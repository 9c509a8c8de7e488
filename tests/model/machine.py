"""A machine of hypothesis: the service and its model side by side, and what is compared after each call."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

from hypothesis.stateful import RuleBasedStateMachine

from doubletext import Client
from doubletext_server.store.check import check
from tests.model.driver import Driver, Stream, outcome
from tests.model.leases import Model
from tests.model.moves import rule_of
from tests.model.oracle import Refused
from tests.model.records import Json
from tests.support.clock import ManualClock

LEASE: Final = 15_000_000
MOMENT: Final = 1000
"""Microseconds that pass with each rule, so that nothing happens at the same time but what belongs together."""

Call: TypeAlias = Callable[[], Awaitable[Any]]
Wanted: TypeAlias = Callable[[Any], Any]


class Machine(RuleBasedStateMachine):
    """own: the graphs that the server executes."""

    own: ClassVar[tuple[str, ...]] = ("agent", "echo")

    def __init_subclass__(cls) -> None:
        cls.play_a_move = rule_of(cls)

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.model = Model(self.clock, LEASE, self.own)
        self.runs: list[str] = []
        self.failed = False
        self.streams: dict[str, Stream] = {}
        self.checked: dict[str, int] = {}
        self.compared: dict[str, list[Any]] = {}
        self.joins: list[tuple[str, asyncio.Task[Any]]] = []
        self.run_streams: list[tuple[str, str, Stream]] = []
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self.driver = Driver(Path(self._folder.name), self.clock, self.model)
        self.do(self.driver.start())

    @property
    def client(self) -> Client:
        return self.driver.service.client

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.get_loop().run_until_complete(work)

    def play(self, call: Call, wanted: Wanted, *, moments: int = MOMENT, at: int | None = None) -> Any:
        """Make a call and let the model say what it must have answered; then compare all that can be seen.

        moments  what passes before it
        at       the time of the call, before which no timer has fired
        """
        try:
            return self.do(self._play(call, wanted, moments, at))
        except BaseException:
            self.failed = True
            raise

    async def _play(self, call: Call, wanted: Wanted, moments: int, at: int | None) -> Any:
        if at is None:
            await self._pass(moments)
        else:
            self.clock.now = at
        answer = await outcome(call())
        expected = refusal_or(wanted, answer)
        if isinstance(expected, Refused):
            assert isinstance(answer, tuple), f"answered {answer}, to be refused with {expected}"
            code, reason, metadata = answer
            assert (code, reason) == (expected.code, expected.reason)
            assert {name: metadata.get(name) for name in expected.metadata} == expected.metadata
        else:
            assert answer == expected, difference(answer, expected)
        self.model.settle()
        await self._pass(0)
        await self._compare()
        return answer

    async def _pass(self, moments: int) -> None:
        dues = self.model.dues()
        self.clock.now += moments
        while dues and dues[0] <= self.clock.now:  # what ends may leave a wait behind it that is over too
            await self.driver.ticked()
            self.model.time_passed()
            dues = self.model.dues()
        await self.driver.quiet()

    # What is compared

    async def _compare(self) -> None:
        await asyncio.gather(*(self._compare_thread(name) for name in self.model.threads))
        for name in self.model.threads.keys() - self.streams:
            self.streams[name] = Stream(self.client.threads.watch(name))
        for name, stream in list(self.streams.items()):
            await self._compare_events(name, stream)
        self.joins = [join for join in self.joins if not await self._is_over(*join)]
        self.run_streams = [watch for watch in self.run_streams if not await self._is_told(*watch)]

    async def _compare_thread(self, name: str) -> None:
        """The first thread always, another one when it is to have changed, or at the end."""
        client, model = self.client, self.model
        wanted = [
            model.get_thread(name),
            model.list_runs(name, (), {}, oldest_first=False),
            model.get_state(name, None),
            model.list_states(name),
        ]
        if name == "a" or self.compared.get(name) != wanted:
            found = await asyncio.gather(
                client.threads.get(name),
                listed(client.runs.list(name)),
                client.threads.get_state(name),
                listed(client.threads.list_states(name)),
            )
            assert list(found) == wanted, difference(list(found), wanted)
            self.compared[name] = wanted

    async def _compare_events(self, name: str, stream: Stream) -> None:
        there = name in self.model.threads
        wanted = self.model.events(name) if there else self.model.last_words[name]
        checked = self.checked.get(name, 0)
        seen = await stream.have(len(wanted))
        for came, left in zip(seen[checked:], wanted[checked:], strict=True):
            assert came == left or (is_emptied(left) and told(came) == told(left))
        self.checked[name] = len(seen)
        if not there:
            assert (await stream.ended())[1] == "THREAD_NOT_FOUND"
            del self.streams[name], self.checked[name]

    async def _is_over(self, run_id: str, join: asyncio.Task[Any]) -> bool:
        """Whether a JoinRun was to be answered by now; then it must have been, and well, else it must wait still."""
        if run_id not in self.model.ends:
            assert not join.done()
            return False
        async with asyncio.timeout(10):
            assert await join == self.model.ends[run_id]
        return True

    async def _is_told(self, thread_id: str, run_id: str, stream: Stream) -> bool:
        if run_id not in self.model.ends:
            return False
        assert await stream.ended() == ()
        there = thread_id in self.model.threads
        events = self.model.threads[thread_id].events if there else self.model.last_words[thread_id]
        wanted = [event for event in events if event["run_id"] == run_id]
        assert [told(event) for event in stream.seen] == [told(event) for event in wanted]
        return True

    def teardown(self) -> None:
        try:
            if not self.failed:
                self.do(self._last_look())
        finally:
            self.do(self._hang_up())
            self.do(self.driver.stop())
            self._runner.close()
            self._folder.cleanup()

    async def _last_look(self) -> None:
        """Each run joined, each thread's events from the first on, and the file judged."""
        self.compared.clear()
        await self._compare()
        for run_id in self.runs:
            wanted = refusal_or(self.model.join_run, run_id, None)
            found = await outcome(self.client.runs.join(None, run_id, wait=0))
            assert found[1] == wanted.reason if isinstance(wanted, Refused) else found == wanted
        for name in self.model.threads:
            assert await self._replay(name, 0) == self.model.events(name)
        report = await asyncio.to_thread(check, str(self.driver.path))
        assert report.ok, list(report.lines())

    async def _hang_up(self) -> None:
        for _, join in self.joins:
            join.cancel()
        await asyncio.gather(*(join for _, join in self.joins), return_exceptions=True)
        for stream in (*self.streams.values(), *(stream for _, _, stream in self.run_streams)):
            await stream.close()

    async def _replay(self, thread: str, after: int) -> Any:
        stream = Stream(self.client.threads.watch(thread, after_sequence=after))
        known = self.model.threads.get(thread)
        seen = await stream.have(len(known.events) - after if known else 1)
        await stream.close()
        return stream.refusal or seen


def refusal_or(method: Callable[..., Any], *arguments: Any) -> Any:
    """What the model answers, or the Refused that it raises."""
    try:
        return method(*arguments)
    except Refused as refused:
        return refused


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def told(event: Json) -> Any:
    """Of an event, what a later rollback leaves as it is."""
    return event["sequence"], event["kind"], event.get("run_changed")


def is_emptied(event: Json) -> bool:
    """Whether a rollback took the event's content. A watcher may have had it before, or not, when the run started with
    the very call that ended it."""
    content = event.get("step_committed", {}).get("update", ()), event.get("output", {}).get("data", ())
    return None in content


def difference(found: Any, wanted: Any) -> str:
    """What is not the same, for a person."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        return "; ".join(f"{key}: {difference(found.get(key), wanted.get(key))}" for key in keys)
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return "; ".join(difference(*pair) for pair in zip(found, wanted, strict=True) if pair[0] != pair[1])
    return f"{found!r} is not {wanted!r}"
