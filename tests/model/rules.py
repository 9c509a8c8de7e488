"""The rules that hold whoever executes the runs, and what is compared after each of them.

Arguments are small numbers and words: the n-th newest run, one of two threads. What hypothesis prints for a sequence that
fails can be pasted into a test as it is.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from doubletext import Client
from server.store.check import check
from tests.model.driver import Driver, Stream, outcome
from tests.model.leases import Model
from tests.model.moves import move, rule_of
from tests.model.oracle import Refused
from tests.model.records import IN_FLIGHT, Json, Run, micros
from tests.worker.hand import Clock

LEASE: Final = 15_000_000
MOMENT: Final = 1000
"""Microseconds that pass with each rule, so that nothing happens at the same time but what belongs together."""

threads = st.sampled_from("aaab")
places = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
strategies = st.sampled_from([None, "enqueue", "interrupt", "rollback", "reject", "enqueue"])
contents = st.sampled_from(["message", "same id", "two", "log", "number", "text", "null", "empty"])
metadata = st.sampled_from([{}, {"k": 1}, {"k": 2, "l": "x"}])
owners = st.sampled_from([None, None, None, "a", "b"])
actions = st.sampled_from(["interrupt", "rollback"])


class Machine(RuleBasedStateMachine):
    """own: the graphs that the server executes. graphs: all there are. assistants: their options, by id."""

    own: ClassVar[tuple[str, ...]] = ("agent", "echo")
    graph: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.play_a_move = rule_of(cls)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.model = Model(self.clock, LEASE, self.own)
        self.runs: list[str] = []
        self.calls: list[Json] = []
        self.said = 0
        self.streams: dict[str, Stream] = {}
        self.checked: dict[str, int] = {}
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

    def play(self, call: Callable[[], Awaitable[Any]], wanted: Callable[[Any], Any], at: int | None = None) -> Any:
        """Make a call and let the model say what it must have answered; then compare all that can be seen.

        at: the time of the call, before which no timer has fired; else a moment after the last one
        """
        return self.do(self._play(call, wanted, at))

    async def _play(self, call: Callable[[], Awaitable[Any]], wanted: Callable[[Any], Any], at: int | None) -> Any:
        if at is None:
            await self._pass(MOMENT)
        else:
            self.clock.now = at
        answer = await outcome(call())
        try:
            expected = wanted(answer)
        except Refused as refused:
            assert isinstance(answer, tuple), f"answered {answer}, to be refused with {refused}"
            known = {name: value for name, value in answer[2].items() if name in refused.metadata}
            answer, expected = (*answer[:2], known), (refused.code, refused.reason, refused.metadata)
        assert answer == expected
        self.model.settle()
        await self._pass(0)
        await self._compare()
        return answer

    async def _pass(self, moments: int) -> None:
        self.clock.now += moments
        await self.driver.ticked()
        self.model.time_passed()
        await self.driver.quiet()

    # What is compared

    async def _compare(self) -> None:
        await asyncio.gather(*(self._compare_thread(name) for name in self.model.threads))
        for name in self.model.threads:
            self.streams.setdefault(name, Stream(self.client.threads.watch(name)))
        for name, stream in list(self.streams.items()):
            await self._compare_events(name, stream)
        self.joins = [join for join in self.joins if not await self._is_over(*join)]
        self.run_streams = [watch for watch in self.run_streams if not await self._is_told(*watch)]

    async def _compare_thread(self, name: str) -> None:
        client, model = self.client, self.model
        found = await asyncio.gather(
            client.threads.get(name),
            listed(client.runs.list(name, page_size=3)),
            client.threads.get_state(name),
            listed(client.threads.list_states(name, page_size=4)),
        )
        assert found[0] == model.get_thread(name)
        assert found[1] == model.list_runs(name, (), {}, oldest_first=False)
        assert found[2] == model.get_state(name, None)
        assert found[3] == model.list_states(name)

    async def _compare_events(self, name: str, stream: Stream) -> None:
        there = name in self.model.threads
        wanted = self.model.events(name) if there else self.model.last_words[name]
        checked = self.checked.get(name, 0)
        seen = await stream.have(len(wanted))
        assert seen[checked:] == wanted[checked:]
        self.checked[name] = len(seen)
        if not there:
            assert (await stream.ended())[1] == "THREAD_NOT_FOUND"
            del self.streams[name], self.checked[name]

    async def _is_over(self, run_id: str, join: asyncio.Task[Any]) -> bool:
        """Whether a JoinRun was to be answered by now, which it must have been, and well; if not, it must still wait."""
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
            self.do(self._last_look())
        finally:
            self.do(self._hang_up())
            self.do(self.driver.stop())
            self._runner.close()
            self._folder.cleanup()

    async def _last_look(self) -> None:
        """Each run read by its id, each thread's events from the first on, and the file judged."""
        for run_id in self.runs:
            try:
                wanted: Any = self.model.get_run(run_id, None)
            except Refused as refused:
                wanted = refused.reason
            found = await outcome(self.client.runs.get(None, run_id))
            assert (found[1] if isinstance(found, tuple) else found) == wanted
        for name in self.model.threads:
            wanted = self.model.events(name)
            replay = Stream(self.client.threads.watch(name))
            assert await replay.have(len(wanted)) == wanted
            await replay.close()
        report = await asyncio.to_thread(check, str(self.driver.path))
        assert report.ok, list(report.lines())

    async def _hang_up(self) -> None:
        for _, join in self.joins:
            join.cancel()
        await asyncio.gather(*(join for _, join in self.joins), return_exceptions=True)
        for stream in (*self.streams.values(), *(stream for _, _, stream in self.run_streams)):
            await stream.close()

    # What the rules draw from

    def run_id(self, place: int) -> str:
        """The n-th newest run that was ever admitted; if there is none, one is created before."""
        self.have_a_run()
        return self.runs[-1 - place % len(self.runs)] if self.runs else "nobody"

    def have_a_run(self) -> None:
        if not any(thread.runs for thread in self.model.threads.values()):
            self.say("a", None)

    def run(self, place: int) -> Run | None:
        return self.model._known(self.run_id(place))

    def content(self, kind: str) -> Json:
        """A JSON object of that kind, with something of its own."""
        self.said += 1
        message = {"role": "user", "content": f"said {self.said}"}
        return {
            "message": {"messages": [message]},
            "same id": {"messages": [{"id": "m", **message}]},
            "two": {"messages": [message, {"id": "m", **message}], "log": [self.said]},
            "log": {"log": self.said},
            "number": {"n": self.said, "log": None},
            "text": {"messages": f"said {self.said}"},
            "null": {"messages": None, "n": None},
            "empty": {},
        }[kind]

    # Threads

    @initialize()
    def a_thread(self) -> None:
        self.create_thread("a", {}, None, 0)

    @move(1, thread=threads, metadata=metadata, strategy=strategies, most=st.sampled_from([0, 0, 1, 2]))
    def create_thread(self, thread: str, metadata: Json, strategy: Any, most: int) -> None:
        settings = {"metadata": metadata, "default_strategy": strategy or "unspecified", "max_queued_runs": most}
        self.play(
            lambda: self.client.threads.create(thread, **settings),
            lambda _: self.model.create_thread(thread, **settings),
        )

    @move(2, thread=threads, change=st.sampled_from([{"metadata": {"k": 3}}, {"max_queued_runs": 1}, {}]), strategy=strategies)
    def update_thread(self, thread: str, change: Json, strategy: Any) -> None:
        settings = {**change, **({"default_strategy": strategy} if strategy else {})}
        self.play(
            lambda: self.client.threads.update(thread, **settings),
            lambda _: self.model.update_thread(thread, **settings),
        )

    @move(1, thread=threads)
    def delete_thread(self, thread: str) -> None:
        self.play(lambda: self.client.threads.delete(thread), lambda _: self.model.delete_thread(thread))

    @move(1, 
        statuses=st.sets(st.sampled_from(["idle", "busy", "interrupted", "error"])),
        metadata=metadata,
        runs=st.sets(st.sampled_from(["pending", "running", "interrupted", "success", "error", "timeout"])),
        thread=threads,
        oldest_first=st.booleans(),
    )
    def lists(self, statuses: set[Any], metadata: Json, runs: set[Any], thread: str, oldest_first: bool) -> None:
        self.play(
            lambda: listed(self.client.threads.list(statuses=[*statuses], metadata=metadata, page_size=1)),
            lambda _: self.model.list_threads(statuses, metadata),
        )
        asked = {"metadata": metadata, "oldest_first": oldest_first}
        self.play(
            lambda: listed(self.client.runs.list(thread, statuses=[*runs], page_size=2, **asked)),
            lambda _: self.model.list_runs(thread, runs, metadata, oldest_first),
        )

    @move(1, thread=threads, step=st.integers(0, 6))
    def get_state(self, thread: str, step: int) -> None:
        self.play(
            lambda: self.client.threads.get_state(thread, step), lambda _: self.model.get_state(thread, step)
        )

    @move(2, thread=threads, kind=contents, assistant=st.sampled_from([None, "plain", "lists", "nobody"]))
    def update_state(self, thread: str, kind: str, assistant: str | None) -> None:
        values = self.content(kind)
        self.play(
            lambda: self.client.threads.update_state(thread, values, assistant_id=assistant),
            lambda _: self.model.update_state(thread, values, assistant),
        )

    @move(1, thread=threads, after=st.integers(0, 8))
    def watch_thread(self, thread: str, after: int) -> None:
        async def replay() -> Any:
            stream = Stream(self.client.threads.watch(thread, after_sequence=after))
            seen = await stream.have(len(known.events) - after if (known := self.model.threads.get(thread)) else 1)
            await stream.close()
            return stream.refusal or seen

        self.play(replay, lambda _: self.model.events(thread, None, after))

    # Runs

    @move(4, 
        thread=threads,
        assistant=st.sampled_from(["plain", "plain", "plain", "brittle", "lists", "nobody"]),
        strategy=strategies,
        kind=contents,
        metadata=metadata,
        create=st.sampled_from(["create", "create", None]),
        delay=st.sampled_from([None, None, None, 0, 2, 30]),
        timeout=st.sampled_from([None, None, None, 3, 60]),
    )
    def create_run(
        self, thread: str, assistant: str, strategy: Any, kind: str, metadata: Json, create: Any, delay: Any, timeout: Any
    ) -> None:
        call = {
            "thread_id": thread,
            "assistant_id": assistant,
            "input": self.content(kind),
            "metadata": metadata,
            "multitask_strategy": strategy,
            "request_id": f"request-{len(self.calls)}",
            "if_thread_not_exists": create,
            "delay": delay,
            "timeout": timeout,
        }
        self.calls.append(call)
        self._create(call)

    @move(6, thread=threads, strategy=strategies)
    def say(self, thread: str, strategy: Any) -> None:
        """The commonest call of all, so that there are enough of it."""
        self.create_run(thread, "plain", strategy, "message", {}, "create", None, None)

    @move(3, place=places, other=st.sampled_from([None, None, "input", "multitask_strategy"]))
    def create_run_again(self, place: int, other: str | None) -> None:
        if not self.calls:
            return
        call = dict(self.calls[-1 - place % len(self.calls)])
        if other == "input":
            call["input"] = self.content("message")
        elif other is not None:
            call[other] = "interrupt" if call[other] != "interrupt" else "rollback"
        self._create(call)

    def _create(self, call: Json) -> None:
        def wanted(answer: Any) -> Any:
            run_id = answer["run_id"] if isinstance(answer, dict) else "refused"
            made = self.model.create_run(run_id, **call)
            if run_id not in self.runs:
                self.runs.append(run_id)
            return made

        self.play(lambda: self.client.runs.create(**call), wanted)

    @move(1, place=places, owner=owners)
    def get_run(self, place: int, owner: str | None) -> None:
        run_id = self.run_id(place)
        self.play(lambda: self.client.runs.get(owner, run_id), lambda _: self.model.get_run(run_id, owner))

    @move(2, place=places, owner=owners)
    def join_run_without_waiting(self, place: int, owner: str | None) -> None:
        run_id = self.run_id(place)
        self.play(lambda: self.client.runs.join(owner, run_id, wait=0), lambda _: self.model.join_run(run_id, owner))

    @move(3, place=places)
    def join_run(self, place: int) -> None:
        """Stays joined until the run ends, whatever happens meanwhile."""
        run = self.run(place)
        if run is None or run.status not in IN_FLIGHT:
            return

        async def join() -> None:
            call = self.client.runs.join(run.thread_id, run.run_id)
            self.joins.append((run.run_id, asyncio.ensure_future(call)))
            await self._listening()

        self.play(join, lambda _: None)

    async def _listening(self) -> None:
        joins = [join for _, join in self.joins if not join.done()]
        await self.driver.listening(len(joins), len(self.streams) + len(self.run_streams))

    @move(2, place=places, after=st.integers(0, 6))
    def watch_run(self, place: int, after: int) -> None:
        """Of a run in flight, the stream stays open until the run ends."""
        run_id, run = self.run_id(place), self.run(place)

        async def replay() -> Any:
            stream = Stream(self.client.runs.watch(None, run_id, after_sequence=after))
            return await stream.ended() or stream.seen

        def wanted(_: Any) -> Any:
            return self.model.events(self.model._kept(run_id, None).thread_id, run_id, after)

        if run is None or run.status not in IN_FLIGHT:
            self.play(replay, wanted)
        elif len(self.run_streams) < 8:
            self.play(lambda: self._watch(run), lambda _: None)

    async def _watch(self, run: Run) -> None:
        stream = Stream(self.client.runs.watch(None, run.run_id))
        self.run_streams.append((run.thread_id, run.run_id, stream))
        await stream.have(1)

    @move(3, place=places, owner=owners, action=actions, wait=st.sampled_from([None, None, 0.005]))
    def cancel_run(self, place: int, owner: str | None, action: Any, wait: float | None) -> None:
        run_id = self.run_id(place)
        self.play(
            lambda: self.client.runs.cancel(owner, run_id, action=action, wait=wait),
            lambda _: self.model.cancel_run(run_id, owner, action),
        )

    @move(2, place=places, owner=owners)
    def delete_run(self, place: int, owner: str | None) -> None:
        run_id = self.run_id(place)
        self.play(lambda: self.client.runs.delete(owner, run_id), lambda _: self.model.delete_run(run_id, owner))

    # Time, and the server's own end

    @move(5, kind=st.sampled_from(["a second", "long", "to what is due", "to just before what is due"]))
    def wait(self, kind: str) -> None:
        now, dues = self.clock.now, self.model.dues()
        due = dues[0] - now - MOMENT if dues else 0
        moments = {
            "a second": micros(1),
            "long": micros(100),
            "to what is due": max(due, 0),
            "to just before what is due": max(due - 1, 0),
        }[kind]
        self.clock.now += moments
        self.play(lambda: listed(self.client.assistants.list()), lambda _: self.known_assistants())

    def known_assistants(self) -> list[Json]:
        return self.model.list_assistants()

    @move(2, orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        self.before_restart(orderly)
        self.play(lambda: self._restart(orderly), lambda _: self.model.restarted(orderly=orderly))

    def before_restart(self, orderly: bool) -> None:
        """What has to happen before, if anything."""

    async def _restart(self, orderly: bool) -> None:
        await self._hang_up()
        if orderly:
            await self.driver.stop()
            await self.driver.start()
        else:
            await self.driver.kill()
        client, joins, watches = self.client, self.joins, self.run_streams
        self.joins = [(run_id, asyncio.ensure_future(client.runs.join(None, run_id))) for run_id, _ in joins]
        self.run_streams = [(name, run_id, Stream(client.runs.watch(None, run_id))) for name, run_id, _ in watches]
        self.streams = {
            name: Stream(client.threads.watch(name, after_sequence=self.checked[name]), stream.seen)
            for name, stream in self.streams.items()
        }
        await self._listening()

    # Assistants

    @move(1, name=st.sampled_from(["lists", "brittle", "new"]), attempts=st.sampled_from([1, 2]))
    def create_assistant(self, name: str, attempts: int) -> None:
        self._assistant(name, self.graph, max_attempts=attempts)

    def _assistant(self, name: str, graph: str, **options: Any) -> None:
        given = {key: value / 1_000_000 if key in ("stop_grace", "run_timeout") else value for key, value in options.items()}
        self.play(
            lambda: self.client.assistants.create(graph, assistant_id=name, **given),
            lambda _: self.model.create_assistant(name, graph, **options),
        )

    @move(1, name=st.sampled_from(["lists", "brittle", "new", "echo", "nobody"]))
    def delete_assistant(self, name: str) -> None:
        self.play(lambda: self.client.assistants.delete(name), lambda _: self.model.delete_assistant(name))
        self.play(lambda: self.client.assistants.get(name), lambda _: self.model.get_assistant(name))


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def told(event: Json) -> Any:
    """Of an event, what a later rollback leaves as it is."""
    return event["sequence"], event["kind"], event.get("run_changed")
