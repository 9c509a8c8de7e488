"""Workers, callers and a killer on many threads for a while, and a checker that looks on.

    scripts/soak --seconds 60 --seed 1 --workers 50 --slots 4 --threads 200

Workers are processes of a few workers each; some are killed, some stopped past their lease, some told to leave, and the
server is killed too. What is on disk is judged at every look, and all of it once it has come to rest. Exits 1 when an
invariant was broken.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from doubletext import Client, DoubletextError, QueueFull, RunNotFound, ThreadBusy
from doubletext.errors import DeadlineExceeded, Unavailable
from tests.service import said
from tests.worker.checker import TERMINAL, judge, judge_growth
from tests.worker.processes import Child, Yard, yard
from tests.worker.record import Record, read, reading, threads

CALLERS: Final = 24
LARGEST_CREW: Final = 5
LEASE: Final = 1.0
SETTLE_SECONDS: Final = 90
EXPECTED: Final = (ThreadBusy, QueueFull, RunNotFound, Unavailable, DeadlineExceeded)
STRATEGIES: Final = ("enqueue", "enqueue", "enqueue", "enqueue", "interrupt", "rollback", "reject")


@dataclass
class Plan:
    seconds: float = 60
    seed: int = 1
    workers: int = 50
    slots: int = 4
    threads: int = 200


@dataclass
class Tally:
    """`calls` by their names; `refused` by the classes of their errors; `harm` by what was killed or stopped."""

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    harm: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    observations: int = 0
    violations: list[str] = field(default_factory=list)


class Soak:
    def __init__(self, plan: Plan, place: Yard) -> None:
        self.plan = plan
        self.place = place
        self.tally = Tally()
        self.draw = random.Random(plan.seed)
        self.over = asyncio.Event()
        self.threads = [f"t{number}" for number in range(plan.threads)]
        self.accepted: dict[str, list[str]] = {thread_id: [] for thread_id in self.threads}
        self.seen: dict[str, Record] = {}
        self.crews: list[Child] = []

    async def pause(self, seconds: float) -> None:
        """So long, or until it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)

    async def run(self) -> None:
        async with Client(self.place.address) as client:
            await client.assistants.create("wandering", assistant_id="wandering", stop_grace=0.5, max_attempts=4)
            await client.assistants.create("wandering", assistant_id="hasty", stop_grace=0, run_timeout=0.4)
            await asyncio.gather(*(client.threads.create(thread_id, max_queued_runs=20) for thread_id in self.threads))
            crews = -(-self.plan.workers // LARGEST_CREW)
            sizes = [len(range(n, self.plan.workers, crews)) for n in range(crews)]
            self.crews = [await self.crew(size) for size in sizes]
            at_work = [
                asyncio.create_task(self.call(client, random.Random(self.draw.random()))) for _ in range(CALLERS)
            ]
            at_work += [asyncio.create_task(self.kill(sizes)), asyncio.create_task(self.look_on())]
            await asyncio.wait(at_work, timeout=self.plan.seconds, return_when=asyncio.FIRST_EXCEPTION)
            self.over.set()
            await asyncio.gather(*at_work)
            await self.settle(client)
        self.look(self.threads, at_rest=True)

    async def crew(self, size: int) -> Child:
        return await self.place.child("tests.worker.crew", self.place.address, str(size), str(self.plan.slots))

    # Those who make trouble

    async def call(self, client: Client, draw: random.Random) -> None:
        while not self.over.is_set():
            try:
                await self.one_call(client, draw)
            except EXPECTED as error:
                self.tally.refused[type(error).__name__] += 1
                if isinstance(error, Unavailable):
                    await self.pause(0.2)
            except DoubletextError as error:
                self.tally.violations.append(f"a call failed: {error!r}")
            await self.pause(draw.uniform(0, 0.05))

    async def one_call(self, client: Client, draw: random.Random) -> None:
        # A few threads get most of what happens.
        thread_id = self.threads[int(len(self.threads) * draw.random() ** 2)]
        runs = self.accepted[thread_id]
        kind = draw.choices(("create", "cancel", "join", "state", "update", "list"), (60, 12, 8, 8, 6, 6))[0]
        run_id = draw.choice(runs[-5:]) if runs else ""
        if kind in ("cancel", "join") and not run_id:
            return
        self.tally.calls[kind] += 1
        match kind:
            case "create":
                made = await client.runs.create(
                    thread_id,
                    draw.choice(("wandering", "wandering", "hasty")),
                    input=said(str(draw.random())),
                    multitask_strategy=draw.choice(STRATEGIES),
                    delay=draw.uniform(0, 1) if draw.random() < 0.1 else None,
                    timeout=0.2 if draw.random() < 0.1 else None,
                )
                runs.append(made["run_id"])
            case "cancel":
                action: Any = draw.choice(("interrupt", "rollback"))
                await client.runs.cancel(thread_id, run_id, action=action, wait=draw.choice((None, 0.1)))
            case "join":
                await client.runs.join(thread_id, run_id, wait=0.1)
            case "state":
                await client.threads.get_state(thread_id)
            case "update":
                await client.threads.update_state(thread_id, {"by hand": draw.random()})
            case "list":
                async for _ in client.runs.list(thread_id):
                    pass

    async def kill(self, sizes: list[int]) -> None:
        """One after the other: kill workers, stop workers past their lease, let workers leave, kill the server."""
        turn = 0
        while not self.over.is_set():
            await self.pause(self.draw.uniform(0.3, 0.9))
            victim = self.draw.randrange(len(sizes))
            if turn % 8 == 6:
                self.tally.harm["server killed"] += 1
                await self.place.server.end(signal.SIGKILL)
                await self.place.serve()
            elif turn % 4 == 1:
                self.tally.harm["workers stopped past their lease"] += sizes[victim]
                self.crews[victim].send(signal.SIGSTOP)
                await self.pause(1.5 * LEASE)
                self.crews[victim].send(signal.SIGCONT)
            else:
                leaves = turn % 4 == 2
                self.tally.harm["workers told to leave" if leaves else "workers killed"] += sizes[victim]
                self.crews[victim].send(signal.SIGTERM if leaves else signal.SIGKILL)
                await self.crews[victim].gone()
                self.crews[victim] = await self.crew(sizes[victim])
            turn += 1

    async def settle(self, client: Client) -> None:
        """Wait until every run has ended."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                for thread_id in self.threads:
                    async for run in client.runs.list(thread_id, statuses=["pending", "running"]):
                        await client.runs.join(None, run["run_id"])
        except TimeoutError:
            self.tally.violations.append("9: there are runs that do not end")

    # Those who look on

    async def look_on(self) -> None:
        draw = random.Random(self.draw.random())
        while not self.over.is_set():
            self.look(draw.sample(self.threads, min(5, len(self.threads))))
            await self.pause(0.02)

    def look(self, thread_ids: Iterable[str], *, at_rest: bool = False) -> None:
        with reading(self.place.db) as connection:
            assert len(threads(connection)) == len(self.threads)
            for thread_id in thread_ids:
                accepted = list(self.accepted[thread_id])
                record = read(connection, thread_id)
                assert record is not None
                wrong = [*judge(record, accepted), *marks(record)]
                if thread_id in self.seen:
                    wrong += judge_growth(self.seen[thread_id], record)
                if at_rest:
                    self.count(record)
                    wrong += [f"9: {run.run_id} is {run.status}" for run in record.runs if run.status not in TERMINAL]
                self.seen[thread_id] = record
                self.tally.observations += 1
                self.tally.violations += [f"{thread_id}: {each}" for each in wrong]

    def count(self, record: Record) -> None:
        tally = self.tally
        tally.runs.update(run.status for run in record.runs)
        tally.runs["deleted"] += len(record.graves)
        for event in record.events:
            tally.events["all"] += 1
            tally.events["steps"] += event.step is not None
            if event.change is not None and event.change[0] == "running":
                tally.events["taken from silent workers"] += event.change[3] in ("LEASE_LOST", "MAX_ATTEMPTS")
                tally.events["handed back"] += event.change[3] == "RELEASED"
                tally.events["stopped while running"] += event.change[1] in ("interrupted", "deleted", "timeout")


def marks(record: Record) -> Iterable[str]:
    """Each run's messages are numbered from 1 on, each there once, whatever number of attempts it took."""
    for run in record.runs:
        own = [step for step in record.steps if step.run_id == run.run_id][1:]
        said = [json.loads(step.update)["messages"][0]["content"] for step in own]
        if said != [f"{run.run_id} {number}" for number in range(1, len(own) + 1)]:
            yield f"5: run {run.run_id} says {said}"


async def soak(plan: Plan, folder: Path) -> Tally:
    """Returns what happened; the database stays in the folder."""
    async with yard(folder / "soak.db", LEASE) as place:
        made = Soak(plan, place)
        await made.run()
        return made.tally


def show(plan: Plan, tally: Tally) -> Iterable[str]:
    def told(counts: Counter[str]) -> str:
        return f"{sum(counts.values())}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

    yield f"seed {plan.seed}, {plan.seconds:g} s, {plan.workers} workers of {plan.slots} slots, {plan.threads} threads"
    yield f"calls {told(tally.calls)}"
    yield f"refused {told(tally.refused)}"
    yield f"harm done {told(tally.harm)}"
    yield f"runs {told(tally.runs)}"
    yield "events " + ", ".join(f"{name} {count}" for name, count in sorted(tally.events.items()))
    yield f"observations {tally.observations}"
    yield f"violations {len(tally.violations)}"
    yield from tally.violations[:20]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in vars(Plan()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{value} unless given")
    plan = Plan(**vars(parser.parse_args()))
    folder = Path(tempfile.mkdtemp(prefix="doubletext-soak-"))
    tally = asyncio.run(soak(plan, folder))
    sys.stdout.write("".join(f"{line}\n" for line in show(plan, tally)))
    if tally.violations:
        sys.exit(f"the database is left in {folder}")


if __name__ == "__main__":
    main()
