"""The moves that there are whoever executes the runs.

Their arguments are small numbers and words: the n-th newest run, one of two threads. What hypothesis prints for a
sequence that fails can be pasted into a test as it is.
"""

import asyncio
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.model.driver import Stream
from tests.model.machine import MOMENT, Machine, listed
from tests.model.moves import move
from tests.model.records import IN_FLIGHT, Json, Run, micros, seconds

threads = st.sampled_from("aaab")
places = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
strategies = st.sampled_from([None, "enqueue", "interrupt", "rollback", "reject", "enqueue", "steer"])
contents = st.sampled_from(["message", "same id", "two", "log", "number", "text", "null", "empty"])
metadata = st.sampled_from([{}, {"k": 1}, {"k": 2, "l": "x"}])
NO_WORDS: Json = {
    "queue_policy": None,
    "debounce": None,
    "max_wait": None,
    "start_within": None,
    "expected_run_id": None,
}
queue_words = st.sampled_from(
    [
        {"queue_policy": "merge"},
        {"queue_policy": "merge", "debounce": 5},
        {"queue_policy": "merge", "debounce": 30, "max_wait": 5},
        {"queue_policy": "keep"},
        {"queue_policy": "keep", "start_within": 5},
        {"queue_policy": "supersede"},
        {"debounce": 5},
        {"expected_run_id": "another"},
    ]
)
limits = st.sampled_from([0, 0, 2])
usual = st.sampled_from(["plain", "plain", "plain", "brittle"])
owners = st.sampled_from([None, None, None, "a", "b"])
actions = st.sampled_from(["interrupt", "rollback"])


class Moves(Machine):
    """graph: of most assistants. calls: what CreateRun was asked so far."""

    graph: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Json] = []
        self.said = 0

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
        made: dict[str, Json] = {
            "message": {"messages": [message]},
            "same id": {"messages": [{"id": "m", **message}]},
            "two": {"messages": [message, {"id": "m", **message}], "log": [self.said]},
            "log": {"log": self.said},
            "number": {"n": self.said, "log": None},
            "text": {"messages": f"said {self.said}"},
            "null": {"messages": None, "n": None},
            "empty": {},
        }
        return made[kind]

    # Threads

    @initialize(most=limits)
    def a_thread(self, most: int) -> None:
        self.create_thread("a", {}, None, most)

    @move(1, thread=threads, metadata=metadata, strategy=strategies, most=limits)
    def create_thread(self, thread: str, metadata: Json, strategy: Any, most: int) -> None:
        settings: Json = {"metadata": metadata, "default_strategy": strategy or "unspecified", "max_queued_runs": most}
        self.play(
            lambda: self.client.threads.create(thread, **settings),
            lambda _: self.model.create_thread(thread, **settings),
        )

    @move(
        1,
        thread=threads,
        change=st.sampled_from([{"metadata": {"k": 3}}, {"max_queued_runs": 1}, {"default_queue_policy": "merge"}, {}]),
        strategy=strategies,
    )
    def update_thread(self, thread: str, change: Json, strategy: Any) -> None:
        settings = {**change, **({"default_strategy": strategy} if strategy else {})}
        self.play(
            lambda: self.client.threads.update(thread, **settings),
            lambda _: self.model.update_thread(thread, **settings),
        )

    @move(1, thread=threads)
    def delete_thread(self, thread: str) -> None:
        self.play(lambda: self.client.threads.delete(thread), lambda _: self.model.delete_thread(thread))

    @move(2, thread=threads, kind=contents, assistant=st.sampled_from([None, "plain", "lists", "nobody"]))
    def update_state(self, thread: str, kind: str, assistant: str | None) -> None:
        values = self.content(kind)
        self.play(
            lambda: self.client.threads.update_state(thread, values, assistant_id=assistant),
            lambda _: self.model.update_state(thread, values, assistant),
        )

    # Runs

    @move(
        4,
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
        self,
        thread: str,
        assistant: str,
        strategy: Any,
        kind: str,
        metadata: Json,
        create: Any,
        delay: Any,
        timeout: Any,
    ) -> None:
        self._create(self.call(thread, assistant, strategy, kind, metadata, create, delay, timeout))

    def call(
        self,
        thread: str,
        assistant: str = "plain",
        strategy: Any = None,
        kind: str = "message",
        metadata: Json | None = None,
        create: Any = "create",
        delay: Any = None,
        timeout: Any = None,
    ) -> Json:
        """The arguments of a CreateRun that was not made before."""
        made = {
            "thread_id": thread,
            "assistant_id": assistant,
            "input": self.content(kind),
            "metadata": metadata or {},
            "multitask_strategy": strategy,
            "request_id": f"request-{len(self.calls)}",
            "if_thread_not_exists": create,
            "delay": delay,
            "timeout": timeout,
            **NO_WORDS,
        }
        self.calls.append(made)
        return made

    @move(10, thread=threads, strategy=strategies, assistant=usual, delay=st.sampled_from([None, None, None, 30]))
    def say(self, thread: str, strategy: Any, assistant: str = "plain", delay: Any = None) -> None:
        """The commonest call of all, so that there are enough of it."""
        self._create(self.call(thread, assistant, strategy, delay=delay))

    @move(
        4,
        thread=threads,
        strategy=st.sampled_from(["enqueue", "enqueue", "interrupt", "rollback", "reject", "join", "steer", None]),
        assistant=usual,
        words=queue_words,
    )
    def say_with_queue_words(self, thread: str, strategy: Any, assistant: str, words: Json) -> None:
        self._create({**self.call(thread, assistant, strategy), **NO_WORDS, **words})

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
        self.play(lambda: self.client.runs.create(**call), lambda answer: self.created(answer, call))

    def created(self, answer: Any, call: Json) -> Json:
        run_id = answer["run_id"] if isinstance(answer, dict) else "refused"
        made = self.model.create_run(run_id, **call)
        if run_id not in self.runs:
            self.runs.append(run_id)
        return made

    @move(1, place=places, owner=owners)
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

    @move(4, place=places, owner=owners, action=actions, wait=st.sampled_from([None, None, 0.005]))
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
        due = dues[0] - now if dues else MOMENT
        moments = {
            "a second": micros(1),
            "long": micros(100),
            "to what is due": due,
            "to just before what is due": max(due - 1, 0),
        }[kind]
        self.play(
            lambda: listed(self.client.assistants.list()), lambda _: self.model.list_assistants(), moments=moments
        )

    @move(3, orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        # Of several runs that die with a process none is charged, and they are tried again a few at a time: the model
        # does not know how, tests/unit/test_suspects.py does.
        running = [run for thread in self.model.threads.values() if (run := thread.running) and run.lease is None]
        orderly = orderly or len(running) > 1
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

    def _assistant(self, name: str, graph: str, **options: Any) -> None:
        lasting = ("stop_grace", "run_timeout")
        given: Json = {key: seconds(value) if key in lasting else value for key, value in options.items()}
        self.play(
            lambda: self.client.assistants.create(graph, assistant_id=name, **given),
            lambda _: self.model.create_assistant(name, graph, **options),
        )

    @move(1, name=st.sampled_from(["lists", "brittle", "new", "echo", "nobody"]), attempts=st.sampled_from([0, 1, 2]))
    def change_assistants(self, name: str, attempts: int) -> None:
        if attempts and name != "nobody":
            self._assistant(name, self.graph, max_attempts=attempts)
        else:
            self.play(lambda: self.client.assistants.delete(name), lambda _: self.model.delete_assistant(name))
        self.play(lambda: self.client.assistants.get(name), lambda _: self.model.get_assistant(name))

    # Looking

    @move(3, kind=st.sampled_from(["threads", "runs", "state", "events", "run"]), thread=threads, n=st.integers(0, 31))
    def look(self, kind: str, thread: str, n: int) -> None:
        """At something that is not compared anyhow. The bits of `n` are what of it to leave out, or how far to go."""
        client, model, page = self.client, self.model, n % 3 + 1
        labels = {"k": n % 2 + 1} if n % 8 else {}
        idle = bits(("idle", "busy", "interrupted", "error"), n)
        statuses = bits(("pending", "running", "interrupted", "success", "error"), n)
        asked: Any = {"metadata": labels, "oldest_first": n % 2 == 0}
        calls: dict[str, tuple[Any, Any]] = {
            "threads": (
                lambda: listed(client.threads.list(statuses=idle, metadata=labels, page_size=page)),
                lambda _: model.list_threads(idle, labels),
            ),
            "runs": (
                lambda: listed(client.runs.list(thread, statuses=statuses, page_size=page, **asked)),
                lambda _: model.list_runs(thread, statuses, **asked),
            ),
            "state": (lambda: client.threads.get_state(thread, n % 8), lambda _: model.get_state(thread, n % 8)),
            "events": (lambda: self._replay(thread, n % 8), lambda _: model.events(thread, None, n % 8)),
            "run": (lambda: client.runs.get(thread, self.runs[0]), lambda _: model.get_run(self.runs[0], thread)),
        }
        self.have_a_run()
        self.play(*calls[kind])


def bits(words: tuple[Any, ...], n: int) -> list[Any]:
    return [word for at, word in enumerate(words) if n >> at & 1]
