"""Threads with long lines, as chance has it, and each request that can be made of them at a moment."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import Refusal
from doubletext_statemachine.model import DEFAULT_REDUCERS, Output, Run, ThreadView
from doubletext_statemachine.queue import in_order
from doubletext_statemachine.words import CancelAction, Place, Strategy
from tests.unit.play import ASSISTANT, GRACE, GRAPHS, LEASE, OTHER, Play, admission
from tests.unit.thread_rows import S, T, World

DELAYS: Final = (0, 4, 4, 9, 30)
OPENINGS: Final = ((), (9, 9, 9, 9, 9), (4, 4, 9, 4, 0), (4, 4, 9, 4, 0))
"""Delays of the first runs: there are none; all are due at once; one overtakes others, which are due while it runs."""
MOVES: Final = 24
AHEAD: Final = (0, 5, GRACE + 1)
"""How much later a request may come: at once; when some of the delayed runs are due; when all time is up."""

KINDS: Final = {
    kind for kind in vars(commands).values() if isinstance(kind, type) and issubclass(kind, commands.Command)
} - {
    commands.Command,
    commands.RunCommand,
    commands.LeaseCommand,
}
SITUATIONS: Final = {"running", "handed back", "none due", "one due", "some due", "draining", "overtaken"}
SEEDS: Final = range(3)
THREADS: Final = 6
Applied = Callable[[commands.Command, Decision, int], object]


def requests(world: World, dice: random.Random) -> Iterator[commands.Command]:
    yield from of_the_thread(world)
    assert world.thread is not None
    number = world.thread.last_sequence + 1
    assistant = dice.choice([ASSISTANT, OTHER])
    for delay in sorted(set(DELAYS)):
        yield admission(f"r{number}", Strategy.ENQUEUE, assistant, delay=delay, max_queued_runs=dice.choice([4, 100]))
    for strategy in (Strategy.REJECT, Strategy.INTERRUPT, Strategy.ROLLBACK, None):
        yield admission(f"r{number}", strategy, assistant, delay=dice.choice(DELAYS))
    over = [run for run in world.runs.values() if run.end_time is not None]
    awaited = world.thread.stopping.run_id if world.thread.stopping else "nobody"
    for name in dict.fromkeys([awaited, *[run.run_id for run in over[-2:]], *list(world.graves)[-1:]]):
        run = world.runs.get(name)
        yield from of_a_run(name, run.epoch if run else 1, dice)
    for run in world.in_flight:
        yield from of_a_run(run.run_id, run.epoch, dice, by_worker=run.worker_id is not None)


def of_the_thread(world: World) -> Iterator[commands.Command]:
    yield from (
        commands.CreateThread(T),
        commands.UpdateThread(T, {"max_queued_runs": 7}),
        commands.DeleteThread(T),
        commands.ExpireThread(T, 1 << 60),
        commands.UpdateState(T, "{}", DEFAULT_REDUCERS),
        commands.ClaimRun(T, GRAPHS),
        commands.ClaimRun(T, frozenset({"h"}), "w", LEASE),
        commands.Tick(T),
        commands.Recover(T),
    )
    for request_id in list(world.asked)[-1:]:
        yield from (admission("again", request_id=request_id, digest=digest) for digest in ("", "another"))


def of_a_run(name: str, epoch: int, dice: random.Random, *, by_worker: bool = True) -> Iterator[commands.Command]:
    yield from (commands.CancelRun(T, name, action) for action in CancelAction)
    yield commands.DeleteRun(T, name)
    yield commands.UpdateRun(T, name, delay=3)
    yield from (commands.MoveRun(T, name, place) for place in (Place.FIRST, Place.LAST))
    lease = (T, name, epoch - (dice.random() < 0.1))
    if epoch == 0:  # it has never been claimed, and each of these is refused
        yield commands.CommitStep(*lease, "{}")
        return
    yield from (
        commands.CommitStep(*lease, "{}", by_worker=by_worker),
        commands.CommitStep(*lease, "{}", dice.randrange(1, 6), by_worker=by_worker),
        commands.PublishOutput(*lease, (Output("c", "{}"),), by_worker=by_worker),
        commands.Heartbeat(*lease, LEASE, by_worker=True),
        commands.SucceedRun(*lease, "{}", "digest", by_worker=by_worker),
        commands.FailRun(*lease, "E", "m", by_worker=by_worker),
        commands.ReleaseRun(*lease, by_worker=by_worker),
        commands.AcknowledgeStop(*lease, by_worker=by_worker),
    )


@dataclass
class Lines:
    """Plays threads by chance, the same ones for the same seed; `applied` is told what is decided on the way."""

    seed: int
    applied: Applied = lambda request, made, now: None
    met: Counter[str] = field(default_factory=Counter)

    def situations(self, threads: int) -> Iterator[tuple[World, int]]:
        self.dice = random.Random(self.seed)
        for _ in range(threads):
            yield from self.one_thread()

    def one_thread(self) -> Iterator[tuple[World, int]]:
        dice, play = self.dice, Play.__new__(Play)
        play.now, play.world = 1_000, World()
        strategy = dice.choice([None, *Strategy])
        self.put(
            play, commands.CreateThread(T, default_strategy=strategy, max_queued_runs=dice.choice([None, None, 5]))
        )
        for delay in dice.choice(OPENINGS):
            self.put(play, self.one_more(play.world, delay))
        self.put(play, commands.ClaimRun(T, GRAPHS))
        for _ in range(MOVES):
            play.now += dice.choice([0, 0, 1, 1, 4])
            self.put(play, self.move(play.world))
            yield play.world, play.now
        self.put(play, commands.DeleteThread(T))

    def asked(self, world: World) -> Iterator[tuple[commands.Command, int]]:
        """Some of the requests, and how much later each comes."""
        for request in requests(world, self.dice):
            if self.dice.random() < 0.4:
                yield request, self.dice.choice(AHEAD)

    def move(self, world: World) -> commands.Command:
        """Mostly one more run; else anything that does not clear the line."""
        dice = self.dice
        if dice.random() < 0.45:
            return self.one_more(world, dice.choice(DELAYS))
        if dice.random() < 0.4:
            return dice.choice([commands.ClaimRun(T, GRAPHS), commands.ClaimRun(T, GRAPHS, "w", LEASE)])
        if world.running is not None and dice.random() < 0.3:
            key, epoch = (T, world.running.run_id), world.running.epoch
            stop = commands.CancelRun(*key, dice.choice(list(CancelAction)))
            return dice.choice([stop, stop, commands.SucceedRun(*key, epoch), *[commands.ReleaseRun(*key, epoch)] * 2])
        clears = (commands.DeleteThread, commands.ExpireThread, commands.CreateThread, commands.AdmitRun)
        return dice.choice([each for each in requests(world, dice) if not isinstance(each, clears)])

    def one_more(self, world: World, delay: int) -> commands.Command:
        assert world.thread is not None
        number = world.thread.last_sequence + 1
        assistant = self.dice.choice([ASSISTANT, OTHER])
        return admission(f"r{number}", assistant=assistant, delay=delay, request_id=f"q{number}")

    def put(self, play: Play, request: commands.Command) -> None:
        try:
            made = play.decide(request)
        except Refusal:
            return
        self.applied(request, made, play.now)
        play.world = play.world.after(request, made, play.now)

    def same(self, some: ThreadView, every: ThreadView, request: commands.Command, now: int) -> None:
        """The same is decided, of some runs in flight and of all of them, and on the claim that may follow."""
        decided, of_some = answer(every, request, now), answer(some, request, now)
        assert of_some == decided, (request, now)
        assert claim_after(of_some[0], now) == claim_after(decided[0], now), (request, now)
        if len(some.runs) < len(every.runs) or type(request) in (commands.DeleteThread, commands.ExpireThread):
            self.met.update({type(request).__name__, *what_stands(every, now)})

    def not_met(self) -> set[str]:
        """What no view that left runs out has been asked, or had."""
        return ({kind.__name__ for kind in KINDS} | SITUATIONS) - {
            name for name, times in self.met.items() if times > 4
        }


def what_stands(view: ThreadView, now: int) -> set[str]:
    assert view.thread is not None
    unstarted = [run for run in view.runs if run.base_step is None]
    due = sum(run.due_time <= now for run in unstarted)
    started = {
        "running" if run.status is S.RUNNING else "handed back" for run in view.runs if run.base_step is not None
    }
    counted = "none due" if not due else "one due" if due == 1 else "some due"
    before = sum(run.sequence < each.sequence for each in view.runs if each.base_step is not None for run in unstarted)
    others = {"draining": view.thread.stopping is not None, "overtaken": before >= 3}
    return started | {counted} | {name for name, stands in others.items() if stands}


def answer(view: ThreadView, request: commands.Command, now: int) -> tuple[Decision | None, object]:
    try:
        made = decide(view, request, now)
    except Refusal as refusal:
        return None, _told(refusal)
    return replace(made, refusal=None), _told(made.refusal)


def claim_after(made: Decision | None, now: int) -> Decision | None:
    if made is None or made.upcoming.ready is None:
        return None
    return decide(ThreadView(made.thread, made.in_flight), commands.ClaimRun(T, GRAPHS), now)


def _told(refusal: Refusal | None) -> object:
    return refusal and (type(refusal), str(refusal), refusal.facts)


def front_of(view: ThreadView, request: commands.Command, now: int) -> ThreadView:
    """No more than what a ThreadView promises to have, of one that has all."""
    waiting = in_order(view.runs, now)
    front, rest = waiting[:2], waiting[2:]
    runs = tuple(run for run in view.runs if run.status is S.RUNNING or run in front)
    counts = isinstance(request, (commands.AdmitRun, commands.UpdateState))
    ahead = sum(_stands_before(run, request, now) for run in rest) if isinstance(request, commands.AdmitRun) else 0
    return replace(view, runs=runs, unlisted=len(rest) if counts else 0, unlisted_ahead=ahead)


def _stands_before(run: Run, request: commands.AdmitRun, now: int) -> bool:
    return run.base_step is not None or run.due_time <= now + request.delay
