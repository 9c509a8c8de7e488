"""A thread on which each call has something to do, and what the file tells of it afterwards, in few words."""

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from doubletext.v1 import worker_service_pb2 as wpb
from tests.support.clock import ManualClock
from tests.support.events import Event, events, reading
from tests.support.server import Service, said
from tests.support.worker import Held, claimed


@dataclass
class Stage:
    """The thread `thread_id`, and on it either runs in flight (`busy`) or one that is finished (`idle`).

    graph   of this stage's runs, and of no others': nobody else claims them. An assistant of that id has it
    names   of the runs, by id; one that the call makes is `new`
    lease   of the run `a`, once it is claimed
    told    how many events there were before the call
    """

    service: Service
    clock: ManualClock
    number: int
    names: dict[str, str] = field(default_factory=dict)
    lease: wpb.Lease = field(default_factory=wpb.Lease)
    told: int = 0
    expires: int | None = None

    @property
    def thread_id(self) -> str:
        return f"t{self.number}"

    @property
    def graph(self) -> str:
        return f"g{self.number}"

    def run_id(self, name: str) -> str:
        return next(run_id for run_id, known in self.names.items() if known == name)

    async def say(self, name: str) -> str:
        run = await self.service.client.runs.create(self.thread_id, self.graph, input=said(name))
        self.names[run["run_id"]] = name
        return run["run_id"]

    async def claim(self) -> Held:
        held = await claimed(self.service, self.graph)
        self.lease = held.lease
        return held

    @property
    def path(self) -> Any:
        return self.service.sqlite.path

    def facts(self) -> tuple[str, ...]:
        """What the file tells more than before the call."""
        with reading(self.path) as connection:
            found = [*self._beside(connection)]
            if connection.execute("SELECT 1 FROM threads WHERE thread_id = ?", (self.thread_id,)).fetchone() is None:
                return (*found, "the thread is gone")
            found += [self._line(event) for event in events(connection, self.thread_id)[self.told :]]
            sql = (
                "SELECT run_id FROM runs WHERE thread_id = ?1 UNION SELECT run_id FROM tombstones WHERE thread_id = ?1"
            )
            known = {run_id for (run_id,) in connection.execute(sql, (self.thread_id,))}
            found += [f"{name} is forgotten" for run_id, name in self.names.items() if run_id not in known]
            if self._expiry(connection) not in (None, self.expires):
                found.append("a is renewed")
            return tuple(found)

    def _beside(self, connection: sqlite3.Connection) -> list[str]:
        """What is not told by events."""

        def holds(sql: str) -> bool:
            return connection.execute(sql, (self.number,)).fetchone() is not None

        questions = {
            "the thread has other metadata": "SELECT 1 FROM threads WHERE thread_id = 't' || ? AND metadata <> '{}'",
            "there is a new thread": "SELECT 1 FROM threads WHERE thread_id = 'new' || ?",
            "there is a new assistant": "SELECT 1 FROM assistants WHERE assistant_id = 'new' || ?",
            "the assistant is gone": "SELECT 1 FROM assistants WHERE assistant_id = 'g' || ? AND delete_time NOT NULL",
        }
        return [fact for fact, sql in questions.items() if holds(sql)]

    def _line(self, event: Event) -> str:
        name = "by hand" if event.run_id is None else self.names.get(event.run_id, "new")
        if event.change is not None:
            return f"{name} {event.change[1]}"
        return f"{name} {event.kind}" if event.step is None else f"{name} step {event.step}"

    def _expiry(self, connection: sqlite3.Connection) -> int | None:
        found = connection.execute("SELECT lease_expires FROM runs WHERE run_id = ?", (self.lease.run_id,)).fetchone()
        return None if found is None else int(found[0] or 0) or None

    def now_begins(self) -> None:
        """What is there by now was there before the call."""
        with reading(self.path) as connection:
            self.told = len(events(connection, self.thread_id))
            self.expires = self._expiry(connection)
        self.clock.forward(1)  # a lease that is renewed now ends later


async def bare(service: Service, clock: ManualClock, number: int) -> Stage:
    stage = Stage(service, clock, number)
    await service.client.threads.create(stage.thread_id)
    await service.client.assistants.create(stage.graph, assistant_id=stage.graph)
    return stage


async def idle(service: Service, clock: ManualClock, number: int) -> Stage:
    """The run `a` is finished; the thread has two steps."""
    stage = await bare(service, clock, number)
    await stage.say("a")
    await (await stage.claim()).succeed("done")
    stage.now_begins()
    return stage


async def waiting(service: Service, clock: ManualClock, number: int) -> Stage:
    """The run `a` may be claimed, `b` after it."""
    stage = await bare(service, clock, number)
    for name in "ab":
        await stage.say(name)
    stage.now_begins()
    return stage


async def busy(service: Service, clock: ManualClock, number: int) -> Stage:
    """The run `a` is at work, under a lease, with one step of its own after its input; `b` waits."""
    stage = await waiting(service, clock, number)
    await (await stage.claim()).commit("so far")
    stage.now_begins()
    return stage
