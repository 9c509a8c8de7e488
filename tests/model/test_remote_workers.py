"""Whoever executes the runs claims them over gRPC: the test is the worker, and makes every call of the protocol.

In the suite a fixed selection of sequences is played. More of them, drawn anew each time: DOUBLETEXT_EXAMPLES=1000.
"""

from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.model.driver import Stream
from tests.model.moves import move
from tests.model.play import played
from tests.model.records import Json, Run, micros
from tests.model.rules import Moves, contents, places
from tests.model.worker import Worker

graphs = st.sampled_from([("remote", "other"), ("remote", "other"), ("remote",), ("other",)])
lateness = st.sampled_from([None, None, None, None, 0, -1])


class RemoteWorkers(Moves):
    graph = "remote"

    def __init__(self) -> None:
        super().__init__()
        self.leases: list[tuple[str, int]] = []
        self.sent: list[tuple[str, int, int, Json | None, list[str]]] = []

    @property
    def worker(self) -> Worker:
        return Worker(self.driver.service.channel)

    @initialize()
    def assistants(self) -> None:
        self._assistant("plain", "remote")
        self._assistant("brittle", "other", max_attempts=1, stop_grace=0, run_timeout=micros(20))
        self._assistant("lists", "remote", reducers={"log": "append", "messages": "append"}, stop_grace=micros(60))

    def lease(self, place: int) -> tuple[str, int]:
        """A lease that was given: first those that still mean something, then the others, newest first. If there is
        none, one is claimed before."""
        if not self.leases:
            self.claim(("remote", "other"))
        live = [lease for lease in self.leases if self.is_held(lease) or self.model._awaited(*lease)]
        leases = [*reversed(live), *(lease for lease in reversed(self.leases) if lease not in live)]
        return leases[place % len(leases)] if leases else ("nobody", 1)

    def is_held(self, lease: tuple[str, int]) -> bool:
        run = self.model._known(lease[0])
        return run is not None and (run.status, run.epoch) == ("running", lease[1])

    def late(self, lease: tuple[str, int], lateness: int | None) -> int | None:
        """The moment at which the lease ends, or so many microseconds off, if nothing else is due until then."""
        run = self.model._known(lease[0])
        ends, dues = run and run.lease, self.model.dues()
        if lateness is None or ends is None or dues[0] != ends or ends - self.clock.now < micros(1):
            return None
        return ends + lateness

    @move(9, graphs=graphs)
    def claim(self, graphs: tuple[str, ...]) -> None:
        self.have_a_run()

        def wanted(assignment: Any) -> Any:
            lease = assignment["lease"] if assignment else None
            made = self.model.claim_run(lease and lease["run_id"], graphs)
            if lease:
                self.leases.append((lease["run_id"], lease["epoch"]))
            return made

        self.play(lambda: self.worker.claim(*graphs), wanted)

    @move(
        6,
        place=places,
        kind=contents,
        expected=st.sampled_from([None, "next", "next", "odd"]),
        late=lateness,
        takes=st.sampled_from(["", "", "too", "alone"]),
    )
    def commit_step(self, place: int, kind: str, expected: str | None, late: int | None, takes: str = "") -> None:
        lease, update = self.lease(place), None if takes == "alone" else self.content(kind)
        run = self.model._known(lease[0])
        following = run.last_step + 1 if run else 1
        step = {None: None, "next": following, "odd": following + 2}[expected]
        absorb = [run_id for run_id in self.runs[-4:] if run_id != lease[0]] if takes else []
        if update is not None or absorb:
            self._commit(lease, update, step, late, absorb)

    @move(4, place=places, other=st.booleans(), newest=st.booleans())
    def commit_step_again(self, place: int, other: bool, newest: bool) -> None:
        """By the attempt that made it, or by the newest one; the same step or another under its number."""
        if not self.sent:
            return
        run_id, epoch, step, update, absorb = self.sent[-1 - place % len(self.sent)]
        run = self.model._known(run_id)
        lease = (run_id, run.epoch if newest and run else epoch)
        self._commit(lease, self.content("message") if other else update, step, None, absorb)

    def _commit(
        self, lease: tuple[str, int], update: Json | None, step: int | None, late: int | None, absorb: list[str]
    ) -> None:
        thread = self.model.threads.get(run.thread_id) if (run := self.model._known(lease[0])) else None
        first = len(thread.steps) + 1 if thread else 0
        made = self.play(
            lambda: self.worker.commit(lease, update, step, absorb),
            lambda _: self.model.commit_step(*lease, update, step, absorb),
            at=self.late(lease, late),
        )
        if isinstance(made, dict) and made["step"] >= first:
            self.sent.append((*lease, first if step is None else step, update, absorb))

    @move(2, place=places, kinds=st.lists(contents, max_size=2), late=lateness)
    def publish_output(self, place: int, kinds: list[str], late: int | None) -> None:
        lease, outputs = self.lease(place), [("tokens", self.content(kind)) for kind in kinds]
        self.play(
            lambda: self.worker.publish(lease, outputs),
            lambda _: self.model.publish_output(*lease, outputs),
            at=self.late(lease, late),
        )

    @move(3, place=places, late=lateness)
    def heartbeat(self, place: int, late: int | None) -> None:
        lease = self.lease(place)
        self.play(lambda: self.worker.beat(lease), lambda _: self.model.heartbeat(*lease), at=self.late(lease, late))

    @move(9, place=places, kind=st.sampled_from([None, None, "message", "error", "error"]), late=lateness)
    def finish_run(self, place: int, kind: str | None, late: int | None) -> None:
        lease = self.lease(place)
        outcome: Json = {"update": self.content("message") if kind == "message" else None}
        if kind == "error":
            outcome = {"error": {"type": "Hail", "message": "no weather"}}
        self.play(
            lambda: self.worker.finish(lease, outcome),
            lambda _: self.model.finish_run(*lease, outcome),
            at=self.late(lease, late),
        )

    @move(2, place=places, late=lateness)
    def release_run(self, place: int, late: int | None) -> None:
        lease = self.lease(place)
        self.play(
            lambda: self.worker.release(lease), lambda _: self.model.release_run(*lease), at=self.late(lease, late)
        )

    @move(1, place=places, off=st.sampled_from([-1, 1]), call=st.sampled_from(["commit", "beat", "release"]))
    def guess_a_lease(self, place: int, off: int, call: str) -> None:
        """Of a run that somebody else has, or nobody: under an epoch that it never had, or no longer has."""
        run = self.run(place)
        lease = (self.run_id(place), max((run.epoch if run else 0) + off, 1))
        update = self.content("message")
        calls: Any = {
            "commit": (
                lambda: self.worker.commit(lease, update),
                lambda _: self.model.commit_step(*lease, update, None),
            ),
            "beat": (lambda: self.worker.beat(lease), lambda _: self.model.heartbeat(*lease)),
            "release": (lambda: self.worker.release(lease), lambda _: self.model.release_run(*lease)),
        }
        self.play(*calls[call])

    @move(2, place=places, by=st.sampled_from(["interrupt", "rollback", "supersede", "delete"]))
    def watch_lease(self, place: int, by: str) -> None:
        """Of a lease that is held, the stream is told of a stop, and ends with its acknowledgement."""
        lease = self.lease(place)
        run = self.model._known(lease[0])
        if run is not None and self.is_held(lease):
            if run.assistant.stop_grace:  # without a grace the wait is over as soon as it begins
                call = self.call(run.thread_id, strategy="interrupt")
                self.play(
                    lambda: self._watch_and_stop(lease, run, by, call), lambda a: self._told(a, lease, run, by, call)
                )
            return

        async def watch() -> Any:
            stream = Stream(self.worker.watch(lease))
            if (stops := await stream.have(1)) and stream.refusal is None:
                await self.worker.release(lease)
            return await stream.ended() or stops

        def wanted(_: Any) -> Any:
            stop = self.model.heartbeat(*lease)["stop"]
            self.model.release_run(*lease)
            return [stop]

        self.play(watch, wanted)

    async def _watch_and_stop(self, lease: tuple[str, int], run: Run, by: str, call: Json) -> Any:
        waiting = self.driver.service.app.hub._by_run
        before = len(waiting.get(run.run_id, ()))
        stream = Stream(self.worker.watch(lease))
        while len(waiting.get(run.run_id, ())) == before:
            await self.worker.beat(lease)
        stopping: dict[str, Any] = {
            "supersede": lambda: self.client.runs.create(**call),
            "delete": lambda: self.client.threads.delete(run.thread_id),
        }
        cancel = lambda: self.client.runs.cancel(None, run.run_id, action=cast("Any", by))  # noqa: E731
        answer = await stopping.get(by, cancel)()
        stops = [*await stream.have(1)]
        if by != "delete":
            await self.worker.beat(lease)
            await self.worker.release(lease)
        return answer, stops, await stream.ended()

    def _told(self, answer: Any, lease: tuple[str, int], run: Run, by: str, call: Json) -> Any:
        self.model.heartbeat(*lease)
        stopped: Any = None
        if by == "supersede":
            stopped = self.created(answer[0], call)
        elif by == "delete":
            self.model.delete_thread(run.thread_id)
        else:
            stopped = self.model.cancel_run(run.run_id, None, by)
        stop = self.model.stop(run, 0 if by == "delete" else run.assistant.stop_grace)
        if by != "delete":
            self.model.release_run(*lease)
        return stopped, [stop], ()


test_workers_calls_are_answered_as_the_contract_says = played(RemoteWorkers)
