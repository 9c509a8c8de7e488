"""Whoever executes the runs claims them over gRPC: the test is the worker, and makes every call of the protocol.

In the suite a fixed selection of sequences is played. More of them, drawn anew each time: DOUBLETEXT_EXAMPLES=1000.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.model.moves import move
from tests.model.play import played
from tests.model.records import Json, Run, micros
from tests.model.rules import Machine, actions, contents, places
from tests.model.worker import Worker

graphs = st.sampled_from([("remote",), ("remote",), ("remote", "other"), ("other",)])
lateness = st.sampled_from([None, None, None, None, 0, -1])


class RemoteWorkers(Machine):
    graph = "remote"

    def __init__(self) -> None:
        super().__init__()
        self.leases: list[tuple[str, int]] = []
        self.sent: list[tuple[str, int, Json]] = []

    @property
    def worker(self) -> Worker:
        return Worker(self.driver.service.channel)

    @initialize()
    def assistants(self) -> None:
        self._assistant("plain", "remote")
        self._assistant("brittle", "other", max_attempts=1, stop_grace=0, run_timeout=micros(20))
        self._assistant("lists", "remote", reducers={"log": "append", "messages": "append"}, stop_grace=micros(60))

    def lease(self, place: int) -> tuple[str, int]:
        """A lease that was given: first those that are held, then the others, newest first. If there is none, one is
        claimed before."""
        if not self.leases:
            self.claim(("remote", "other"))
        held = [lease for lease in reversed(self.leases) if self.is_held(lease)]
        leases = [*held, *(lease for lease in reversed(self.leases) if lease not in held)]
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

    @move(7, graphs=graphs)
    def claim(self, graphs: tuple[str, ...]) -> None:
        self.have_a_run()
        def wanted(assignment: Any) -> Any:
            run_id = assignment["run"]["run_id"] if assignment else None
            made = self.model.claim_run(run_id, graphs)
            if assignment:
                self.leases.append((run_id, assignment["lease"]["epoch"]))
            return made

        self.play(lambda: self.worker.claim(*graphs), wanted)

    @move(6, place=places, kind=contents, expected=st.sampled_from([None, "next", "next", "odd"]), late=lateness)
    def commit_step(self, place: int, kind: str, expected: str | None, late: int | None) -> None:
        lease, update = self.lease(place), self.content(kind)
        run = self.model._known(lease[0])
        following = run.last_step + 1 if run else 1
        step = {None: None, "next": following, "odd": following + 2}[expected]
        self._commit(lease, update, step, late)

    @move(2, place=places, other=st.booleans(), newest=st.booleans())
    def commit_step_again(self, place: int, other: bool, newest: bool) -> None:
        """By the attempt that made it, or by the newest one; the same step or another under its number."""
        if not self.sent:
            return
        run_id, epoch, step, update = self.sent[-1 - place % len(self.sent)]
        run = self.model._known(run_id)
        self._commit(
            (run_id, run.epoch if newest and run else epoch), self.content("message") if other else update, step, None
        )

    def _commit(self, lease: tuple[str, int], update: Json, step: int | None, late: int | None) -> None:
        made = self.play(
            lambda: self.worker.commit(lease, update, step),
            lambda _: self.model.commit_step(*lease, update, step),
            self.late(lease, late),
        )
        if isinstance(made, int):
            self.sent.append((*lease, made, update))

    @move(2, place=places, kinds=st.lists(contents, max_size=2), late=lateness)
    def publish_output(self, place: int, kinds: list[str], late: int | None) -> None:
        lease, outputs = self.lease(place), [("tokens", self.content(kind)) for kind in kinds]
        self.play(
            lambda: self.worker.publish(lease, outputs),
            lambda _: self.model.publish_output(*lease, outputs),
            self.late(lease, late),
        )

    @move(2, place=places, late=lateness)
    def heartbeat(self, place: int, late: int | None) -> None:
        lease = self.lease(place)
        self.play(lambda: self.worker.beat(lease), lambda _: self.model.heartbeat(*lease), self.late(lease, late))

    @move(4, place=places, kind=st.sampled_from([None, None, "message", "error", "error"]), late=lateness)
    def finish_run(self, place: int, kind: str | None, late: int | None) -> None:
        lease = self.lease(place)
        outcome: Json = {"update": self.content("message") if kind == "message" else None}
        if kind == "error":
            outcome = {"error": {"type": "Hail", "message": "no weather"}}
        self.play(
            lambda: self.worker.finish(lease, outcome),
            lambda _: self.model.finish_run(*lease, outcome),
            self.late(lease, late),
        )

    @move(2, place=places, late=lateness)
    def release_run(self, place: int, late: int | None) -> None:
        lease = self.lease(place)
        self.play(lambda: self.worker.release(lease), lambda _: self.model.release_run(*lease), self.late(lease, late))

    @move(1, place=places, off=st.sampled_from([-1, 1]), call=st.sampled_from(["commit", "beat", "release"]))
    def guess_a_lease(self, place: int, off: int, call: str) -> None:
        """Of a run that somebody else has, or nobody: under an epoch that it never had, or no longer has."""
        run = self.run(place)
        lease = (self.run_id(place), max((run.epoch if run else 0) + off, 1))
        update = self.content("message")
        calls: Any = {
            "commit": (lambda: self.worker.commit(lease, update), lambda _: self.model.commit_step(*lease, update, None)),
            "beat": (lambda: self.worker.beat(lease), lambda _: self.model.heartbeat(*lease)),
            "release": (lambda: self.worker.release(lease), lambda _: self.model.release_run(*lease)),
        }
        self.play(*calls[call])


test_workers_calls_are_answered_as_the_contract_says = played(RemoteWorkers)
