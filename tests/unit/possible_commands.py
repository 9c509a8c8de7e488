"""Each call that may be made of a thread as it stands and that may make a difference, by whomever it may come from."""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from doubletext_statemachine import commands
from doubletext_statemachine.model import DEFAULT_REDUCERS, Assistant, Output, Run
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import CancelAction, OnFailure, Place, QueuePolicy, Strategy
from tests.unit.play import GRAPHS
from tests.unit.thread_rows import S, T, World

LEASE, LONG_LEASE, GRACE, TIMEOUT, DELAY = 1, 3, 2, 2, 1
"""In the smallest unit of time, so that each of them ends before, with and after each other one somewhere. Of the two
leases one ends within the grace, and one outlasts it."""
PATIENT: Final = Assistant(1, "patient", "g", 0, stop_grace=GRACE, max_attempts=2)
HASTY: Final = Assistant(2, "hasty", "h", 0, stop_grace=0, max_attempts=1, run_timeout=TIMEOUT)
OUTPUT: Final = (Output("c", "{}"),)
FAR_AHEAD: Final = 10**15


class Bounds(NamedTuple):
    """How many runs are in flight at once, who executes them, and how many are admitted at all (None: any number).

    queue_words: runs come with queue policies, debounces, and times by which they must have started; "few": not with
                 each word that makes a difference
    steering: runs come that steer, and are absorbed
    editing: runs that wait are edited and moved, threads are held, and all runs are cancelled at once

    With so many at all, a situation is told from others by all that is left of the runs that are over.
    """

    in_flight: int
    workers: bool
    ever: int | None = None
    queue_words: Literal["", "few", "all"] = ""
    steering: bool = False
    editing: bool = False

    @property
    def strategies(self) -> list[Strategy]:
        """Steering comes with few others: it multiplies the situations."""
        if self.steering:
            return [Strategy.ENQUEUE, Strategy.STEER, Strategy.ROLLBACK]
        if self.editing:
            return [Strategy.ENQUEUE, Strategy.REJECT]
        return [strategy for strategy in Strategy if strategy is not Strategy.STEER]


def calls(world: World, bounds: Bounds) -> Iterator[commands.Command]:
    yield from of_the_thread(world, bounds)
    yield from admissions(world, bounds)
    for run in world.in_flight:
        yield from (commands.CancelRun(T, run.run_id, action) for action in CancelAction)
        yield commands.DeleteRun(T, run.run_id)
        if run.status is S.RUNNING:
            yield from by_the_holder(run, world)
            yield from by_any_attempt(run.run_id, run.epoch - 1, by_worker=run.worker_id is not None)
        elif run.base_step is not None:
            yield from by_any_attempt(run.run_id, run.epoch, by_worker=bounds.workers)
        else:
            yield commands.CommitStep(T, run.run_id, 0, "{}")
        if bounds.editing:
            yield from edits(run, world)
        if run.worker_id is None and run.status is S.RUNNING and bounds.workers:
            yield from by_any_attempt(run.run_id, run.epoch, by_worker=True)
    yield from of_what_is_over(world, bounds)


def of_the_thread(world: World, bounds: Bounds) -> Iterator[commands.Command]:
    yield from (
        commands.CreateThread(T),
        commands.UpdateThread(T, {"metadata": '{"a":1}'}),
        commands.UpdateState(T, "{}", DEFAULT_REDUCERS),
        commands.DeleteThread(T),
        commands.ExpireThread(T, 0),
        commands.ExpireThread(T, FAR_AHEAD),
        commands.ClaimRun(T, GRAPHS),
        commands.ClaimRun(T, frozenset({HASTY.graph})),
        commands.Tick(T),
        commands.Recover(T),
    )
    if bounds.editing:
        yield from (
            commands.CancelRuns(T, frozenset(), CancelAction.ROLLBACK),
            commands.CancelRuns(T, frozenset({S.PENDING}), CancelAction.INTERRUPT),
            commands.UpdateThread(T, {"held": True, "on_failure": OnFailure.CONTINUE}),
            commands.UpdateThread(T, {"held": False, "on_failure": OnFailure.HOLD}),
        )
    if bounds.workers:
        yield from (commands.ClaimRun(T, GRAPHS, "w", lease) for lease in (LEASE, LONG_LEASE))


def admissions(world: World, bounds: Bounds) -> Iterator[commands.Command]:
    """With each strategy, and a delay where it makes a difference; and the newest one over again."""
    number = world.thread.last_sequence if world.thread else 0
    if number:
        again = {"request_id": f"q{number}", "max_queued_runs": bounds.in_flight - 1}
        for digest in (f"r{number}", "other"):
            yield commands.AdmitRun(T, "again", PATIENT.assistant_id, PATIENT, digest=digest, **again)  # type: ignore[arg-type]
    if bounds.ever is not None and number >= bounds.ever:
        return
    name = f"r{number + 1}"
    yield commands.AdmitRun(T, name, "nobody", None)
    yield commands.AdmitRun(T, name, PATIENT.assistant_id, PATIENT, expected_run_id="another")
    if bounds.queue_words:
        yield from admissions_with_queue_words(name, f"q{number + 1}", bounds)
        return
    for assistant in (PATIENT, HASTY):
        for strategy in bounds.strategies:
            for delay in (0, DELAY):
                if delay and strategy in (Strategy.REJECT, Strategy.ROLLBACK):
                    continue
                yield commands.AdmitRun(
                    T,
                    name,
                    assistant.assistant_id,
                    assistant,
                    strategy=strategy,
                    delay=delay,
                    request_id=f"q{number + 1}",
                    digest=name,
                    max_queued_runs=bounds.in_flight - 1,
                    create_thread=strategy is Strategy.ENQUEUE,
                )


def admissions_with_queue_words(name: str, request_id: str, bounds: Bounds) -> Iterator[commands.Command]:
    """What a run's queue policy may be with each strategy, and the words that go with it."""
    for assistant in (PATIENT, HASTY):
        for strategy in bounds.strategies:
            for policy in STRATEGIES[strategy].policies or (None,):
                said: list[dict[str, Any]] = [{}]
                if policy is QueuePolicy.MERGE:
                    said += [{"debounce": 2 * DELAY, "max_wait": DELAY}, {"debounce": DELAY}]
                elif policy is QueuePolicy.KEEP:
                    said += [{"start_within": LEASE}, {"delay": DELAY}]
                if bounds.queue_words == "few":
                    said = said[:2] if assistant is PATIENT else said[:1]
                for words in said:
                    yield commands.AdmitRun(
                        T,
                        name,
                        assistant.assistant_id,
                        assistant,
                        strategy=strategy,
                        queue_policy=policy,
                        request_id=request_id,
                        digest=name,
                        max_queued_runs=bounds.in_flight,
                        create_thread=strategy is Strategy.ENQUEUE,
                        **words,
                    )


def by_the_holder(run: Run, world: World) -> Iterator[commands.Command]:
    """Of the running run, by who executes it; steps also over again, and with a number that is not the next."""
    by_worker = run.worker_id is not None
    yield from by_any_attempt(run.run_id, run.epoch, by_worker=by_worker)
    assert run.base_step is not None
    for expected in {run.base_step + 1, run.last_step, run.last_step + 1}:
        yield commands.CommitStep(T, run.run_id, run.epoch, "{}", expected, by_worker=by_worker)
    yield commands.CommitStep(T, run.run_id, run.epoch, '{"a":1}', run.last_step, by_worker=by_worker)
    yield commands.SucceedRun(T, run.run_id, run.epoch, by_worker=by_worker)
    yield from absorbing(run, world, by_worker=by_worker)


def edits(run: Run, world: World) -> Iterator[commands.Command]:
    """Of a run, whether it waits or not; with a revision that it does not have, too."""
    yield commands.UpdateRun(T, run.run_id, input='{"b":2}', expected_revision=run.revision)
    yield commands.UpdateRun(T, run.run_id, expected_revision=run.revision + 1)
    yield commands.UpdateRun(T, run.run_id, delay=DELAY)
    yield commands.MoveRun(T, run.run_id, Place.FIRST)
    yield commands.MoveRun(T, run.run_id, Place.LAST)
    for other in world.in_flight:
        yield from (commands.MoveRun(T, run.run_id, place, other.run_id) for place in (Place.BEFORE, Place.AFTER))


def absorbing(run: Run, world: World, *, by_worker: bool) -> Iterator[commands.Command]:
    """Steps that take what steers, with an update and without; the newest of these over again, and once otherwise."""
    waiting = tuple(each.run_id for each in world.in_flight if each.waits)
    key = (T, run.run_id, run.epoch)
    if waiting:
        yield commands.CommitStep(*key, None, absorb=waiting, by_worker=by_worker)
        yield commands.CommitStep(*key, "{}", run.last_step + 1, waiting[-1:], by_worker=by_worker)
    first = next((place for place in range(len(world.absorbs), 0, -1) if world.absorbs[place - 1][0]), None)
    if first is not None:
        update, absorb = world.updates[first - 1], world.absorbs[first - 1][0]
        yield commands.CommitStep(*key, update, first, absorb, by_worker=by_worker)
        yield commands.CommitStep(*key, update, first, (*absorb, "other"), by_worker=by_worker)


def by_any_attempt(name: str, epoch: int, *, by_worker: bool) -> Iterator[commands.Command]:
    """What an attempt may send at any time, whether or not it still holds its run."""
    yield from (
        commands.CommitStep(T, name, epoch, "{}", by_worker=by_worker),
        commands.PublishOutput(T, name, epoch, OUTPUT, by_worker=by_worker),
        commands.SucceedRun(T, name, epoch, "{}", "success", by_worker=by_worker),
        commands.FailRun(T, name, epoch, "E", "m", "error", by_worker=by_worker),
        commands.ReleaseRun(T, name, epoch, by_worker=by_worker),
        commands.AcknowledgeStop(T, name, epoch, by_worker=by_worker),
    )
    if by_worker:
        yield commands.Heartbeat(T, name, epoch, LEASE, by_worker=True)


def of_what_is_over(world: World, bounds: Bounds) -> Iterator[commands.Command]:
    """Of the attempt that is awaited; of the newest run that left a record, the newest that left a tombstone, and of an
    idle thread one that never was. With three in flight behind it, what is over is left to the walk that remembers it:
    they have no say in such a call."""
    stopping = world.thread.stopping if world.thread else None
    if stopping is not None:
        yield from by_any_attempt(stopping.run_id, stopping.epoch, by_worker=stopping.worker_id is not None)
        yield commands.Heartbeat(T, stopping.run_id, stopping.epoch, LONG_LEASE, by_worker=True)
        yield from by_any_attempt(stopping.run_id, stopping.epoch - 1, by_worker=bounds.workers)
        if stopping.worker_id is None and bounds.workers:
            yield from by_any_attempt(stopping.run_id, stopping.epoch, by_worker=True)
    if bounds.ever is None and len(world.in_flight) > 2:
        return
    over = [run.run_id for run in world.runs.values() if run.end_time is not None]
    never = () if world.in_flight else ("nobody",)
    for name in (*over[-1:], *list(world.graves)[-1:], *never):
        run = world.runs.get(name)
        yield from (commands.CancelRun(T, name, action) for action in CancelAction)
        yield commands.DeleteRun(T, name)
        if stopping is None or stopping.run_id != name:
            yield from by_any_attempt(name, run.epoch if run else 1, by_worker=bounds.workers)
