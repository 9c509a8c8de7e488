"""The arbiter through `decide`: what each request leads to, and every small situation of a thread walked through.

A thread in memory (World) applies the Decisions; each that is applied, in a story (Play) or on the walk, is held to the
invariants of the architecture (`judge`).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest

from statemachine import errors
from statemachine import requests as ask
from statemachine.arbiter import decide
from statemachine.draft import Decision
from statemachine.model import (
    DEFAULT_REDUCERS,
    Assistant,
    Drain,
    Output,
    Reducers,
    Repeated,
    Run,
    RunChanged,
    StepCommitted,
    Thread,
    ThreadView,
    Tombstone,
)
from statemachine.status import CancelAction, Reason, Reducer, RunStatus, Strategy

S, R = RunStatus, Reason
ENQUEUE, REJECT, INTERRUPT, ROLLBACK = Strategy.ENQUEUE, Strategy.REJECT, Strategy.INTERRUPT, Strategy.ROLLBACK

T: Final = "t"
START: Final = 1_000
GRACE: Final = 50
COUNTERS: Final[Reducers] = {"count": Reducer.APPEND}
ASSISTANT: Final = Assistant(1, "a", "g", 0, stop_grace=GRACE, max_attempts=2)
OTHER: Final = Assistant(2, "b", "h", 0, stop_grace=0, max_attempts=1, run_timeout=30, reducers=COUNTERS)
GRAPHS: Final = frozenset({"g", "h"})


@dataclass(frozen=True)
class World:
    """What a store would hold of a thread. `steps`: of which run each is."""

    thread: Thread | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    graves: dict[str, Tombstone] = field(default_factory=dict)
    steps: tuple[str | None, ...] = ()
    asked: dict[str, Repeated] = field(default_factory=dict)

    def in_flight(self) -> tuple[Run, ...]:
        flying = [run for run in self.runs.values() if run.status in (S.PENDING, S.RUNNING)]
        return tuple(sorted(flying, key=lambda run: run.sequence))

    def running(self) -> Run | None:
        return next((run for run in self.runs.values() if run.status is S.RUNNING), None)

    def view(self, request: ask.Request) -> ThreadView:
        named: Run | Tombstone | None = None
        if isinstance(request, ask.RunRequest):
            named = self.runs.get(request.run_id) or self.graves.get(request.run_id)
        repeated = self.asked.get(request.request_id or "") if isinstance(request, ask.AdmitRun) else None
        return ThreadView(self.thread, self.in_flight(), named, repeated)

    def after(self, request: ask.Request, made: Decision, now: int) -> "World":
        if made.deletes_thread:
            return World()
        runs, graves, asked = dict(self.runs), dict(self.graves), dict(self.asked)
        if made.admitted is not None and isinstance(request, ask.AdmitRun):
            runs[made.admitted.run_id] = made.admitted
            if request.request_id:
                asked[request.request_id] = Repeated(made.admitted.run_id, request.digest)
        for run in made.moved:
            if run.status is S.DELETED:
                assert run.reason is not None
                del runs[run.run_id]
                graves[run.run_id] = Tombstone(run.run_id, T, run.superseded_by, run.reason, run.create_time, now)
            else:
                runs[run.run_id] = run
        if made.removes_run is not None:
            del runs[made.removes_run]
        kept = self.steps if made.cut_to is None else self.steps[: made.cut_to]
        return World(made.thread, runs, graves, kept + tuple(step.run_id for step in made.steps), asked)


def judge(before: World, request: ask.Request, made: Decision, now: int, after: World) -> None:
    """Hold one applied Decision against the invariants. Numbers are those of architecture.md."""
    if made.deletes_thread:
        assert made.thread is None
        assert {run.run_id for run in made.moved} == {run.run_id for run in before.in_flight()}
        return
    if not made.writes:
        assert after == before
        assert (made.moved, made.steps, made.events, made.admitted) == ([], [], [], None)
        return
    thread, earlier = made.thread, before.thread
    assert thread is not None
    moved = {run.run_id: run for run in made.moved}
    running = [run for run in after.runs.values() if run.status is S.RUNNING]

    # 1. One runs at a time, and none starts before the old attempt has acknowledged or its grace is over.
    assert len(running) <= 1
    started = [run for run in running if (old := before.runs.get(run.run_id)) is None or old.status is not S.RUNNING]
    if started and earlier and earlier.drain:
        assert now >= earlier.drain.until
    assert not (thread.drain and running), "a run is running beside a stopped attempt"

    # 3. Terminal is final, and a record goes only when it is asked for.
    for run_id, run in before.runs.items():
        if run.status not in (S.PENDING, S.RUNNING):
            assert run_id not in moved
            assert after.runs.get(run_id) == run or made.removes_run == run_id
    for run_id, grave in before.graves.items():
        assert after.graves[run_id] == grave
    assert not set(after.runs) & set(after.graves)
    for run in moved.values():
        assert (run.end_time == now) if run.status not in (S.PENDING, S.RUNNING) else run.end_time is None

    # 4. Runs start in order of `sequence` among those that are due, one that was handed back before all.
    for run in started:
        waiting = [each for each in before.in_flight() if each.due_time <= now or each.base_step is not None]
        assert run.run_id == min(waiting, key=lambda each: (each.base_step is None, each.sequence)).run_id
        assert run.due_time <= now

    # 5. Only the current attempt of the running run writes.
    if isinstance(request, ask.LeaseRequest) and not isinstance(request, ask.AcknowledgeStop):
        holder = before.running()
        assert holder is not None
        assert (holder.run_id, holder.epoch) == (request.run_id, request.epoch)

    # 6. Steps are numbered without gaps; a run's are contiguous; rolled back none are left, otherwise all of them.
    last = before.thread.last_step if before.thread else 0
    last = last if made.cut_to is None else made.cut_to
    assert [step.step for step in made.steps] == list(range(last + 1, last + 1 + len(made.steps)))
    assert thread.last_step == len(after.steps)
    for run_id in after.graves:
        assert run_id not in after.steps
    for run_id, run in after.runs.items():
        own = [number for number, owner in enumerate(after.steps, 1) if owner == run_id]
        if not own:
            assert run.last_step == 0
            assert run.attempt == 0 or run_id in before.runs
            continue
        assert run.base_step is not None
        assert own == list(range(run.base_step + 1, run.last_step + 1))
        if run.status is S.RUNNING or run.status is S.PENDING:
            assert run.last_step == thread.last_step
    gone = Counter(before.steps) - Counter(after.steps)
    assert set(gone) <= {run.run_id for run in moved.values() if run.status is S.DELETED}

    # 7. What is superseded is so by the run admitted with it; the chains end at one that is not.
    for run in moved.values():
        if run.reason is R.SUPERSEDED:
            assert made.admitted is not None
            assert run.superseded_by == made.admitted.run_id
            assert run.sequence < made.admitted.sequence
        else:
            assert run.superseded_by is None
    heirs = {run_id: run.superseded_by for run_id, run in after.runs.items()}
    heirs.update({run_id: grave.superseded_by for run_id, grave in after.graves.items()})
    for run_id in heirs:
        seen, heir = {run_id}, heirs[run_id]
        while heir is not None and heir in heirs:
            assert heir not in seen, "superseded_by goes in circles"
            seen.add(heir)
            heir = heirs[heir]

    # 8. Each event has the next number, and the events tell all that happened.
    first = (earlier.last_event if earlier else 0) + 1
    assert [event.sequence for event in made.events] == list(range(first, first + len(made.events)))
    assert thread.last_event == first - 1 + len(made.events)
    told = [(e.run_id, e.kind.before, e.kind.after) for e in made.events if isinstance(e.kind, RunChanged)]
    statuses = {run_id: run.status for run_id, run in before.runs.items()}
    expected = [(run_id, statuses[run_id], run.status) for run_id, run in moved.items()]
    expected = [change for change in expected if change[1] is not change[2]]
    if made.admitted is not None:
        expected.insert(0, (made.admitted.run_id, None, S.PENDING))
        assert made.admitted.sequence == thread.last_sequence == (earlier.last_sequence if earlier else 0) + 1
    assert sorted(told, key=str) == sorted(expected, key=str)
    stepped = [(e.run_id, e.kind.step) for e in made.events if isinstance(e.kind, StepCommitted)]
    assert stepped == [(step.run_id, step.step) for step in made.steps]

    # What is in flight can go on: it runs, or may be claimed, or there is a moment to wait for, which is told.
    flying = after.in_flight()
    if running:
        assert made.outlook == (None, running[0].deadline)
    elif flying and thread.drain and now < thread.drain.until:
        assert made.outlook == (None, thread.drain.until)
    elif due := [run for run in flying if run.due_time <= now]:
        assert made.outlook == (min(due, key=lambda run: (run.base_step is None, run.sequence)), None)
    else:
        assert made.outlook == (None, min((run.due_time for run in flying), default=None))


class Play:
    """A thread to play on: each request is decided, judged and applied. Runs are named by the test."""

    def __init__(self, **thread: Any) -> None:
        self.now = START
        self.world = World()
        self.put(ask.CreateThread(T, **thread))

    def decide(self, request: ask.Request) -> Decision:
        return decide(self.world.view(request), request, self.now)

    def put(self, request: ask.Request) -> Decision:
        made = self.decide(request)
        after = self.world.after(request, made, self.now)
        judge(self.world, request, made, self.now, after)
        self.world = after
        return made

    def admit(self, name: str, strategy: Strategy | None = ENQUEUE, **more: Any) -> Decision:
        return self.put(admission(name, strategy, **more))

    def claim(self, *graphs: str) -> Run | None:
        run = self.put(ask.ClaimRun(T, frozenset(graphs) or GRAPHS)).run
        assert not isinstance(run, Tombstone)
        return run

    def claimed(self, name: str) -> Run:
        run = self.claim()
        assert run is not None, f"nothing to claim, {name} expected"
        assert run.run_id == name
        return run

    def start(self, name: str, *, steps: int = 0, **more: Any) -> Run:
        """A run that is running and has made its input's step and `steps` more."""
        self.admit(name, **more)
        run = self.claimed(name)
        for _ in range(steps):
            self.put(ask.CommitStep(T, name, run.epoch, "{}"))
        return self.world.runs[name]

    def run(self, name: str) -> Run:
        return self.world.runs[name]

    def held(self, kind: type[Any], name: str, *more: Any, epoch: int | None = None) -> Any:
        """A request under the run's lease."""
        return kind(T, name, self.run(name).epoch if epoch is None else epoch, *more)

    def succeed(self, name: str) -> Decision:
        return self.put(self.held(ask.SucceedRun, name))

    def cancel(self, name: str, action: CancelAction = CancelAction.INTERRUPT) -> Decision:
        return self.put(ask.CancelRun(T, name, action))

    @property
    def thread(self) -> Thread:
        assert self.world.thread is not None
        return self.world.thread

    def steps(self) -> tuple[str | None, ...]:
        """Of which run each step is."""
        return self.world.steps

    def statuses(self) -> dict[str, str]:
        """Of all runs ever admitted, by name."""
        alive = {name: run.status.value for name, run in self.world.runs.items() if run.status}
        return {**alive, **dict.fromkeys(self.world.graves, "deleted")}

    def refused(self, request: ask.Request, refusal: type[errors.Refusal]) -> dict[str, str]:
        """The facts of the refusal that the request meets."""
        with pytest.raises(refusal) as met:
            self.decide(request)
        return met.value.facts


def admission(
    name: str, strategy: Strategy | None = ENQUEUE, assistant: Assistant = ASSISTANT, **more: Any
) -> ask.AdmitRun:
    return ask.AdmitRun(T, name, assistant.assistant_id, assistant, strategy=strategy, **more)


@pytest.fixture
def play() -> Play:
    return Play()


# Threads


def test_a_created_thread_is_as_the_request_says() -> None:
    made = Play(metadata='{"a":1}', default_strategy=REJECT, max_queued_runs=3)
    assert made.thread == Thread(T, START, START, '{"a":1}', REJECT, 3)


def test_a_thread_is_not_created_twice(play: Play) -> None:
    assert play.refused(ask.CreateThread(T), errors.ThreadExists) == {"thread_id": T}


@pytest.mark.parametrize(
    "changes",
    [{"metadata": '{"b":2}'}, {"default_strategy": ROLLBACK}, {"default_strategy": None}, {"max_queued_runs": 7}],
)
def test_updating_a_thread_sets_what_is_named_and_nothing_else(changes: dict[str, Any]) -> None:
    play = Play(metadata='{"a":1}', default_strategy=REJECT, max_queued_runs=3)
    play.start("r")
    before, play.now = play.thread, play.now + 1
    made = play.put(ask.UpdateThread(T, changes))
    assert made.thread == replace(before, update_time=play.now, **changes)
    assert made.events == []


THREAD_REQUESTS: Final = {
    "UpdateThread": ask.UpdateThread(T, {"metadata": "{}"}),
    "DeleteThread": ask.DeleteThread(T),
    "UpdateState": ask.UpdateState(T, "{}", DEFAULT_REDUCERS),
    "AdmitRun": admission("r"),
}


@pytest.mark.parametrize("name", list(THREAD_REQUESTS))
def test_a_thread_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(errors.ThreadNotFound) as refused:
        decide(ThreadView(None), THREAD_REQUESTS[name], START)
    assert refused.value.facts == {"thread_id": T}


def test_deleting_a_thread_stops_and_fences_its_runs(play: Play) -> None:
    play.start("r")
    play.admit("p")
    made = play.put(ask.DeleteThread(T))
    assert [(run.run_id, run.status, run.reason) for run in made.moved] == [
        ("r", S.DELETED, R.THREAD_DELETED),
        ("p", S.DELETED, R.THREAD_DELETED),
    ]
    assert made.deletes_thread
    assert made.thread is None
    assert made.outlook == (None, None)
    facts = play.refused(ask.CommitStep(T, "r", 1, "{}"), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": "0", "cause": "DELETED"}


def test_an_update_of_the_state_is_one_step_of_nobodys_with_the_given_reducers(play: Play) -> None:
    made = play.put(ask.UpdateState(T, '{"count":1}', COUNTERS))
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (1, None, '{"count":1}', COUNTERS)
    assert [event.kind for event in made.events] == [StepCommitted(1)]


@pytest.mark.parametrize("busy", ["running", "pending", "delayed", "handed back"])
def test_the_state_is_not_updated_while_a_run_is_in_flight(play: Play, busy: str) -> None:
    play.admit("r", delay=10 if busy == "delayed" else 0)
    if busy in ("running", "handed back"):
        play.claimed("r")
    if busy == "handed back":
        play.put(play.held(ask.ReleaseRun, "r"))
    facts = play.refused(ask.UpdateState(T, "{}", DEFAULT_REDUCERS), errors.ThreadInFlight)
    assert facts["active_run_id"] == "r"
    assert facts["active_run_status"] == ("running" if busy == "running" else "pending")


def test_the_state_may_be_updated_while_a_stopped_attempt_is_awaited(play: Play) -> None:
    play.start("r")
    play.cancel("r")
    assert play.put(ask.UpdateState(T, "{}", DEFAULT_REDUCERS)).steps[0].step == 2


# Admission


@pytest.mark.parametrize("strategy", list(Strategy))
def test_on_an_idle_thread_every_strategy_starts_the_run(play: Play, strategy: Strategy) -> None:
    made = play.admit("r", strategy)
    assert made.admitted == made.run == play.run("r")
    assert (made.admitted.sequence, made.admitted.status, made.queue_position) == (1, S.PENDING, 1)
    assert made.superseded == []
    assert made.outlook.ready == made.admitted
    assert [event.kind for event in made.events] == [RunChanged(None, S.PENDING)]
    assert play.claimed("r").status is S.RUNNING


@pytest.mark.parametrize("strategy", list(Strategy))
def test_an_earlier_finished_run_is_never_undone(play: Play, strategy: Strategy) -> None:
    play.start("old", steps=2)
    play.succeed("old")
    made = play.admit("r", strategy)
    assert (made.superseded, made.moved, made.cut_to) == ([], [], None)
    assert play.steps() == ("old",) * 3


@pytest.mark.parametrize(
    ("given", "threads", "servers", "applied"),
    [
        (REJECT, INTERRUPT, ENQUEUE, REJECT),
        (None, INTERRUPT, ENQUEUE, INTERRUPT),
        (None, None, ROLLBACK, ROLLBACK),
    ],
)
def test_a_run_without_a_strategy_takes_the_threads_else_the_servers(
    given: Strategy | None, threads: Strategy | None, servers: Strategy, applied: Strategy
) -> None:
    play = Play(default_strategy=threads)
    play.admit("r", given, default_strategy=servers)
    assert play.run("r").strategy is applied


@pytest.mark.parametrize(
    ("given", "assistant", "timeout"), [(5, OTHER, 5), (None, OTHER, 30), (0, OTHER, 0), (None, ASSISTANT, None)]
)
def test_a_run_without_a_timeout_takes_its_assistants(
    play: Play, given: int | None, assistant: Assistant, timeout: int | None
) -> None:
    play.admit("r", assistant=assistant, timeout=given)
    assert play.run("r").timeout == timeout


def test_a_run_of_an_assistant_that_is_not_there_is_refused(play: Play) -> None:
    request = replace(admission("r"), assistant=None)
    assert play.refused(request, errors.AssistantNotFound) == {"assistant_id": "a"}


def test_a_thread_is_created_with_its_first_run_when_the_request_says_so() -> None:
    made = decide(ThreadView(None), admission("r", create_thread=True), START)
    assert made.creates_thread
    assert made.thread == Thread(T, START, START, last_sequence=1, last_event=1)
    assert made.admitted is not None


def test_a_thread_that_exists_is_not_created_again_by_a_run(play: Play) -> None:
    play.admit("r", create_thread=True)
    assert not play.admit("p", create_thread=True).creates_thread
    assert play.run("p").sequence == 2


def busy_thread() -> Play:
    """R running, its input and two steps on top of the two of a finished run; P1 and P2 pending."""
    play = Play()
    play.start("old", steps=1)
    play.succeed("old")
    play.start("R", steps=2)
    play.admit("P1")
    play.admit("P2")
    play.now += 7
    return play


def test_reject_on_a_busy_thread_is_refused_and_names_the_run_in_the_way() -> None:
    facts = busy_thread().refused(admission("new", REJECT), errors.ThreadBusy)
    assert facts == {"thread_id": T, "active_run_id": "R", "active_run_status": "running", "in_flight_runs": "3"}


def test_enqueue_on_a_busy_thread_waits_its_turn() -> None:
    play = busy_thread()
    made = play.admit("new", ENQUEUE)
    assert made.queue_position == 3
    assert (made.moved, made.superseded, made.cut_to) == ([], [], None)
    started = []
    for name in ("R", "P1", "P2", "new"):
        if name != "R":
            play.claimed(name)
        started.append(name)
        play.succeed(name)
    assert started == ["R", "P1", "P2", "new"]


def test_interrupt_on_a_busy_thread_ends_all_and_keeps_the_steps() -> None:
    play = busy_thread()
    running = play.run("R")
    made = play.admit("new", INTERRUPT)
    assert made.superseded == made.moved == [play.run("R"), play.run("P1"), play.run("P2")]
    for name in ("R", "P1", "P2"):
        run = play.run(name)
        assert (run.status, run.superseded_by, run.reason, run.end_time) == (
            S.INTERRUPTED,
            "new",
            R.SUPERSEDED,
            play.now,
        )
    assert made.cut_to is None
    assert play.steps() == ("old", "old", "R", "R", "R")
    assert (play.run("R").base_step, play.run("R").last_step) == (running.base_step, 5)
    assert [(play.run(name).base_step, play.run(name).last_step) for name in ("P1", "P2")] == [(5, 0), (5, 0)]
    assert play.run("P1").left_state_at == 5
    assert made.run == made.admitted == play.run("new")
    assert (play.run("new").superseded_by, made.queue_position) == (None, 1)


def test_rollback_on_a_busy_thread_deletes_all_and_cuts_off_the_steps_of_the_running_run() -> None:
    play = busy_thread()
    made = play.admit("new", ROLLBACK)
    assert [run.run_id for run in made.superseded] == ["R", "P1", "P2"]
    for run in made.superseded:
        assert (run.status, run.superseded_by, run.reason, run.last_step) == (S.DELETED, "new", R.SUPERSEDED, 0)
        assert run.left_state_at == 2
    assert made.cut_to == 2
    assert play.steps() == ("old", "old")
    assert play.thread.last_step == 2
    assert play.statuses() == {"old": "success", "R": "deleted", "P1": "deleted", "P2": "deleted", "new": "pending"}
    play.now += GRACE
    assert play.claimed("new").base_step == 2
    assert play.steps() == ("old", "old", "new")


@pytest.mark.parametrize(("strategy", "status"), [(INTERRUPT, S.INTERRUPTED), (ROLLBACK, S.DELETED)])
@pytest.mark.parametrize("delay", [0, 10])
def test_a_pending_run_is_superseded_without_having_run(
    play: Play, strategy: Strategy, status: RunStatus, delay: int
) -> None:
    play.admit("P", delay=delay)
    made = play.admit("new", strategy)
    (run,) = made.superseded
    assert (run.run_id, run.status, run.attempt, run.start_time, run.last_step) == ("P", status, 0, None, 0)
    assert made.cut_to is None
    assert play.thread.drain is None
    assert play.claimed("new").base_step == 0


def test_the_events_of_a_supersession_tell_of_the_new_run_first() -> None:
    play = busy_thread()
    made = play.admit("new", INTERRUPT)
    assert [(event.run_id, event.kind) for event in made.events] == [
        ("new", RunChanged(None, S.PENDING)),
        ("R", RunChanged(S.RUNNING, S.INTERRUPTED, "new", R.SUPERSEDED)),
        ("P1", RunChanged(S.PENDING, S.INTERRUPTED, "new", R.SUPERSEDED)),
        ("P2", RunChanged(S.PENDING, S.INTERRUPTED, "new", R.SUPERSEDED)),
    ]


def test_a_run_that_was_handed_back_is_rolled_back_with_its_steps(play: Play) -> None:
    play.admit("early", delay=100)
    play.start("r", steps=2)
    play.put(play.held(ask.ReleaseRun, "r"))
    made = play.admit("new", ROLLBACK)
    assert made.cut_to == 0
    assert [run.run_id for run in made.superseded] == ["early", "r"]
    assert {run.run_id: run.base_step for run in made.superseded} == {"early": 0, "r": 0}
    assert play.thread.drain is None


def test_a_superseded_run_may_itself_have_superseded_another(play: Play) -> None:
    play.start("a")
    play.admit("b", INTERRUPT)
    play.admit("c", ROLLBACK)
    assert (play.run("a").superseded_by, play.world.graves["b"].superseded_by) == ("b", "c")
    assert play.run("c").superseded_by is None


@pytest.mark.parametrize(("limit", "admitted"), [(1, 1), (2, 2)])
def test_a_queue_takes_as_many_pending_runs_as_its_limit(limit: int, admitted: int) -> None:
    play = Play(max_queued_runs=limit)
    play.start("R")
    for number in range(admitted):
        play.admit(f"P{number}")
    facts = play.refused(admission("new"), errors.QueueFull)
    assert facts == {"thread_id": T, "queued_runs": str(admitted), "max_queued_runs": str(limit)}
    play.succeed("R")
    play.claimed("P0")
    play.admit("new")


# A repeated request_id


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_repeated_call_changes_nothing_whatever_its_strategy(play: Play, strategy: Strategy) -> None:
    play.admit("r", strategy, request_id="q", digest="d")
    play.claimed("r")
    before = play.world
    made = play.admit("ignored", strategy, request_id="q", digest="d")
    assert (made.repeated, made.writes, made.admitted, made.superseded) == ("r", False, None, [])
    assert play.world == before


def test_a_repeated_call_is_answered_even_when_it_would_be_refused_now() -> None:
    play = Play(max_queued_runs=1)
    play.admit("r", REJECT, request_id="q", digest="d")
    request = replace(admission("ignored", REJECT, request_id="q", digest="d"), assistant=None)
    assert play.put(request).repeated == "r"


@pytest.mark.parametrize("end", ["success", "deleted", "rolled back"])
def test_a_repeated_call_names_its_run_even_when_that_is_over(play: Play, end: str) -> None:
    play.start("r", request_id="q", digest="d")
    if end == "rolled back":
        play.cancel("r", CancelAction.ROLLBACK)
    else:
        play.succeed("r")
    if end == "deleted":
        play.put(ask.DeleteRun(T, "r"))
    assert play.admit("ignored", request_id="q", digest="d").repeated == "r"


def test_a_request_id_used_for_another_call_is_refused_before_the_strategy(play: Play) -> None:
    play.start("r", request_id="q", digest="d")
    for strategy in Strategy:
        request = admission("new", strategy, request_id="q", digest="other")
        assert play.refused(request, errors.RequestIdReused) == {"request_id": "q", "thread_id": T, "run_id": "r"}


# Claiming


def test_a_claim_starts_the_run_with_its_input_as_a_step(play: Play) -> None:
    play.put(ask.UpdateState(T, "{}", DEFAULT_REDUCERS))
    play.admit("r", assistant=OTHER)
    play.now += 3
    made = play.put(ask.ClaimRun(T, GRAPHS))
    run = made.run
    assert isinstance(run, Run)
    assert run == replace(
        run, status=S.RUNNING, attempt=1, epoch=1, start_time=play.now, base_step=1, last_step=2, reason=None
    )
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (2, "r", None, COUNTERS)
    assert [event.kind for event in made.events] == [RunChanged(S.PENDING, S.RUNNING), StepCommitted(2)]
    assert made.outlook == (None, play.now + 30)


@pytest.mark.parametrize("hand_back", ["release", "recover"])
def test_a_run_that_is_claimed_again_has_its_input_once_and_a_new_epoch(play: Play, hand_back: str) -> None:
    play.start("r", steps=1, timeout=20)
    play.put(play.held(ask.ReleaseRun, "r") if hand_back == "release" else ask.Recover(T))
    play.now += 5
    made = play.put(ask.ClaimRun(T, GRAPHS))
    run = play.run("r")
    assert made.steps == []
    assert play.steps() == ("r", "r")
    assert (run.epoch, run.base_step, run.last_step, run.start_time, run.reason) == (2, 0, 2, play.now, None)
    assert run.attempt == {"release": 1, "recover": 2}[hand_back]
    assert run.deadline == play.now + 20


def test_a_claimer_of_other_graphs_starts_nothing(play: Play) -> None:
    play.admit("r")
    made = play.put(ask.ClaimRun(T, frozenset({"h"})))
    assert (made.run, made.writes) == (None, False)
    assert made.outlook.ready == play.run("r")


def test_a_claimer_does_not_get_a_run_that_waits_behind_one_of_another_graph(play: Play) -> None:
    play.admit("first")
    play.admit("second", assistant=OTHER)
    assert play.claim("h") is None
    assert play.claimed("first")


def test_nothing_is_claimed_beside_a_running_run(play: Play) -> None:
    play.start("r")
    play.admit("p")
    assert play.claim() is None


def test_nothing_is_claimed_on_a_thread_without_runs_or_without_a_thread(play: Play) -> None:
    assert play.claim() is None
    assert not decide(ThreadView(None), ask.ClaimRun(T, GRAPHS), START).writes


# Order, delay, and those that were handed back


def test_a_delayed_run_starts_when_it_is_due_and_not_an_instant_before(play: Play) -> None:
    made = play.admit("r", delay=10)
    assert made.outlook == (None, START + 10)
    play.now = START + 9
    assert play.claim() is None
    play.now = START + 10
    assert play.put(ask.Tick(T)).outlook.ready == play.run("r")
    assert play.claimed("r")


def test_a_delayed_run_holds_up_none_that_was_admitted_after_it(play: Play) -> None:
    play.admit("delayed", delay=10)
    made = play.admit("prompt")
    assert (made.queue_position, made.outlook.ready) == (1, play.run("prompt"))
    play.claimed("prompt")


def test_a_delayed_run_that_became_due_goes_before_those_admitted_after_it(play: Play) -> None:
    play.start("r")
    play.admit("delayed", delay=10)
    play.admit("prompt")
    play.now += 10
    play.succeed("r")
    play.claimed("delayed")


def test_delayed_runs_wait_in_order_of_when_they_are_due(play: Play) -> None:
    play.admit("late", delay=20)
    made = play.admit("soon", delay=10)
    assert (made.queue_position, made.outlook.wake) == (1, START + 10)
    assert play.admit("between", delay=15).queue_position == 2
    play.now += 20
    assert [play.claimed(name).run_id for name in ("late",)] == ["late"]


def test_a_run_that_was_handed_back_goes_before_all_others(play: Play) -> None:
    play.admit("first", delay=10)
    play.start("r", steps=1)
    play.now += 10
    play.put(play.held(ask.ReleaseRun, "r"))
    assert play.admit("new").queue_position == 3
    play.claimed("r")
    play.succeed("r")
    play.claimed("first")


# Steps, outputs, outcomes


def test_a_step_of_the_running_run_is_the_threads_next(play: Play) -> None:
    play.start("r", assistant=OTHER)
    made = play.put(play.held(ask.CommitStep, "r", '{"count":1}'))
    (step,) = made.steps
    assert (step.step, step.run_id, step.update, step.reducers) == (2, "r", '{"count":1}', COUNTERS)
    assert made.run == made.moved[0] == play.run("r")
    assert (play.run("r").last_step, play.run("r").status) == (2, S.RUNNING)
    assert [event.kind for event in made.events] == [StepCommitted(2)]


def test_an_output_is_an_event_and_changes_nothing_else(play: Play) -> None:
    before = play.start("r")
    made = play.put(play.held(ask.PublishOutput, "r", "tokens", '{"t":1}'))
    assert [(event.run_id, event.kind) for event in made.events] == [("r", Output("tokens", '{"t":1}'))]
    assert (made.steps, made.moved, play.run("r")) == ([], [], before)


def test_a_success_frees_the_thread_for_the_next_run_at_once(play: Play) -> None:
    play.start("r")
    play.admit("p")
    made = play.succeed("r")
    assert (play.run("r").status, play.run("r").end_time, play.run("r").reason) == (S.SUCCESS, play.now, None)
    assert play.thread.drain is None
    assert made.outlook.ready == play.run("p")


def test_a_success_may_bring_a_last_step(play: Play) -> None:
    play.start("r")
    made = play.put(play.held(ask.SucceedRun, "r", '{"a":1}'))
    assert [(step.step, step.update) for step in made.steps] == [(2, '{"a":1}')]
    assert [event.kind for event in made.events] == [StepCommitted(2), RunChanged(S.RUNNING, S.SUCCESS)]
    assert (play.run("r").last_step, play.run("r").left_state_at) == (2, 2)


def test_a_failure_keeps_the_steps_and_says_what_failed(play: Play) -> None:
    play.start("r", steps=1)
    made = play.put(play.held(ask.FailRun, "r", "ValueError", "no"))
    run = play.run("r")
    assert (run.status, run.error_type, run.error_message, run.last_step) == (S.ERROR, "ValueError", "no", 2)
    assert play.steps() == ("r", "r")
    assert made.outlook == (None, None)


def test_a_released_run_has_not_used_up_an_attempt(play: Play) -> None:
    play.start("r", steps=1)
    for _ in range(3):
        made = play.put(play.held(ask.ReleaseRun, "r"))
        run = play.run("r")
        assert (run.status, run.attempt, run.reason, run.last_step) == (S.PENDING, 0, R.RELEASED, 2)
        assert made.outlook.ready == run
        assert play.claimed("r").attempt == 1
    assert play.run("r").epoch == 4


LEASE_REQUESTS: Final[dict[str, tuple[type[ask.LeaseRequest], tuple[Any, ...]]]] = {
    "CommitStep": (ask.CommitStep, ("{}",)),
    "PublishOutput": (ask.PublishOutput, ("c", "{}")),
    "SucceedRun": (ask.SucceedRun, ()),
    "FailRun": (ask.FailRun, ("E", "m")),
    "ReleaseRun": (ask.ReleaseRun, ()),
}
ENDS: Final[dict[str, tuple[Callable[[Play], object], str, int]]] = {
    # what happened to the run, and the cause and epoch that its attempt is told
    "succeeded": (lambda play: play.succeed("r"), "SUCCESS", 1),
    "failed": (lambda play: play.put(play.held(ask.FailRun, "r", "E", "m")), "ERROR", 1),
    "was cancelled": (lambda play: play.cancel("r"), "CANCELLED", 1),
    "was cancelled with rollback": (lambda play: play.cancel("r", CancelAction.ROLLBACK), "CANCELLED", 0),
    "was interrupted": (lambda play: play.admit("n", INTERRUPT), "SUPERSEDED", 1),
    "was rolled back": (lambda play: play.admit("n", ROLLBACK), "SUPERSEDED", 0),
    "timed out": (lambda play: play.put(ask.Tick(T)), "TIMEOUT", 1),
    "was released": (lambda play: play.put(play.held(ask.ReleaseRun, "r")), "RELEASED", 1),
    "was recovered": (lambda play: play.put(ask.Recover(T)), "LEASE_LOST", 1),
    "was claimed again": (lambda play: (play.put(ask.Recover(T)), play.claim()), "CLAIMED_AGAIN", 2),
    "was recorded no more": (lambda play: (play.succeed("r"), play.put(ask.DeleteRun(T, "r"))), "DELETED", 0),
    "lost its thread": (lambda play: play.put(ask.DeleteThread(T)), "DELETED", 0),
}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("end", list(ENDS))
def test_an_attempt_whose_run_is_over_changes_nothing_and_is_told_why(play: Play, end: str, kind: str) -> None:
    happened, cause, current = ENDS[end]
    play.start("r", timeout=5)
    play.now += 5
    happened(play)
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", 1, *more), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": str(current), "cause": cause}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_that_is_not_the_current_one_is_no_lease(play: Play, kind: str, epoch: int) -> None:
    play.start("r")
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", epoch, *more), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "1", "cause": "CLAIMED_AGAIN"}


def test_a_pending_run_is_nobodys_to_finish(play: Play) -> None:
    play.admit("r")
    assert play.refused(ask.SucceedRun(T, "r", 0), errors.LeaseLost)["cause"] == "PENDING"


# Cancelling


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "deleted")]
)
def test_cancelling_the_running_run_stops_it_alone(action: CancelAction, status: str) -> None:
    play = busy_thread()
    made = play.cancel("R", action)
    assert play.statuses() == {"old": "success", "R": status, "P1": "pending", "P2": "pending"}
    (run,) = made.moved
    assert made.run == run
    assert (run.reason, run.superseded_by, made.superseded) == (R.CANCELLED, None, [])
    rolled_back = action is CancelAction.ROLLBACK
    assert made.cut_to == (2 if rolled_back else None)
    assert play.steps() == (("old", "old") if rolled_back else ("old", "old", "R", "R", "R"))
    assert play.thread.drain == Drain("R", 1, play.now + GRACE)
    assert made.outlook == (None, play.now + GRACE)


@pytest.mark.parametrize(
    ("action", "status"), [(CancelAction.INTERRUPT, "interrupted"), (CancelAction.ROLLBACK, "deleted")]
)
def test_cancelling_a_pending_run_takes_it_out_of_the_line_only(action: CancelAction, status: str) -> None:
    play = busy_thread()
    made = play.cancel("P1", action)
    assert play.statuses() == {"old": "success", "R": "running", "P1": status, "P2": "pending"}
    assert (made.cut_to, play.thread.drain, play.run("R").status) == (None, None, S.RUNNING)
    play.succeed("R")
    play.claimed("P2")


def test_cancelling_a_run_that_was_handed_back_undoes_its_steps_only_when_asked(play: Play) -> None:
    play.start("r", steps=1)
    play.put(play.held(ask.ReleaseRun, "r"))
    assert play.cancel("r").cut_to is None
    assert (play.run("r").last_step, play.thread.drain) == (2, None)
    play.start("s", steps=1)
    play.put(ask.Recover(T))
    assert play.cancel("s", CancelAction.ROLLBACK).cut_to == 2


@pytest.mark.parametrize("action", list(CancelAction))
@pytest.mark.parametrize("end", ["success", "error", "timeout", "interrupted", "deleted"])
def test_cancelling_a_terminal_run_returns_it_unchanged(play: Play, action: CancelAction, end: str) -> None:
    play.start("r", timeout=5)
    play.now += 5
    {
        "success": lambda: play.succeed("r"),
        "error": lambda: play.put(play.held(ask.FailRun, "r", "E", "m")),
        "timeout": lambda: play.put(ask.Tick(T)),
        "interrupted": lambda: play.cancel("r"),
        "deleted": lambda: play.cancel("r", CancelAction.ROLLBACK),
    }[end]()
    before = play.world
    assert play.statuses() == {"r": end}
    made = play.cancel("r", action)
    assert (made.run, made.writes) == (before.runs.get("r") or before.graves["r"], False)
    assert play.world == before


def test_a_run_that_never_was_cannot_be_cancelled_or_deleted(play: Play) -> None:
    for request in (ask.CancelRun(T, "r", CancelAction.INTERRUPT), ask.DeleteRun(T, "r")):
        assert play.refused(request, errors.RunNotFound) == {"run_id": "r", "thread_id": T}


# Deleting the record of a run


def test_deleting_a_run_takes_its_record_and_leaves_the_steps(play: Play) -> None:
    play.start("r", steps=1)
    play.succeed("r")
    made = play.put(ask.DeleteRun(T, "r"))
    assert (made.removes_run, made.cut_to, made.events) == ("r", None, [])
    assert (play.statuses(), play.world.steps) == ({}, ("r", "r"))


def test_a_run_in_flight_is_not_deleted(play: Play) -> None:
    play.admit("r")
    assert play.refused(ask.DeleteRun(T, "r"), errors.RunInFlight) == {"run_id": "r", "status": "pending"}
    play.claimed("r")
    assert play.refused(ask.DeleteRun(T, "r"), errors.RunInFlight) == {"run_id": "r", "status": "running"}


def test_a_run_that_was_rolled_back_has_no_record_to_delete(play: Play) -> None:
    play.start("r")
    play.cancel("r", CancelAction.ROLLBACK)
    assert play.refused(ask.DeleteRun(T, "r"), errors.RunNotFound)["run_id"] == "r"


# A stopped attempt holds up its successor

STOPS: Final[dict[str, Callable[[Play], object]]] = {
    "interrupt": lambda play: play.admit("next", INTERRUPT),
    "rollback": lambda play: play.admit("next", ROLLBACK),
    "cancel": lambda play: (play.admit("next"), play.cancel("r")),
    "cancel with rollback": lambda play: (play.admit("next"), play.cancel("r", CancelAction.ROLLBACK)),
    "timeout": lambda play: (play.admit("next"), play.put(ask.Tick(T))),
}


@pytest.fixture(params=list(STOPS))
def stopped(request: pytest.FixtureRequest) -> Play:
    """A thread whose run `r` was stopped under epoch 1 just now, with `next` to follow."""
    play = Play()
    play.start("r", timeout=5)
    play.now += 5
    STOPS[request.param](play)
    return play


def test_the_successor_starts_when_the_grace_is_over_and_not_an_instant_before(stopped: Play) -> None:
    over = stopped.now + GRACE
    assert stopped.thread.drain == Drain("r", 1, over)
    assert stopped.put(ask.Tick(T)).outlook == (None, over)
    stopped.now = over - 1
    assert stopped.claim() is None
    stopped.now = over
    assert stopped.put(ask.Tick(T)).outlook.ready == stopped.run("next")
    stopped.claimed("next")
    assert stopped.thread.drain is None


def test_the_successor_starts_as_soon_as_the_stop_is_acknowledged(stopped: Play) -> None:
    made = stopped.put(ask.AcknowledgeStop(T, "r", 1))
    assert made.writes
    assert made.events == []
    assert made.outlook.ready == stopped.run("next")
    stopped.claimed("next")


@pytest.mark.parametrize(("run_id", "epoch"), [("r", 0), ("r", 2), ("next", 1), ("next", 0)])
def test_an_acknowledgement_of_another_attempt_lets_nobody_start(stopped: Play, run_id: str, epoch: int) -> None:
    made = stopped.put(ask.AcknowledgeStop(T, run_id, epoch))
    assert not made.writes
    assert stopped.claim() is None


def test_an_acknowledgement_is_idempotent_and_may_come_late(stopped: Play) -> None:
    acknowledgement = ask.AcknowledgeStop(T, "r", 1)
    stopped.put(acknowledgement)
    assert not stopped.put(acknowledgement).writes
    stopped.claimed("next")
    assert not stopped.put(acknowledgement).writes
    stopped.put(ask.DeleteThread(T))
    assert not stopped.put(acknowledgement).writes


def test_whoever_comes_next_waits_for_the_stopped_attempt_too(stopped: Play) -> None:
    drain = stopped.thread.drain
    stopped.admit("another", INTERRUPT)
    assert stopped.statuses()["next"] == "interrupted"
    assert stopped.thread.drain == drain
    assert stopped.claim() is None
    stopped.now += GRACE
    stopped.claimed("another")


def test_an_assistant_without_grace_holds_up_nobody(play: Play) -> None:
    play.start("r", assistant=OTHER)
    play.admit("next", INTERRUPT)
    play.claimed("next")


def test_an_idle_thread_that_awaits_a_stopped_attempt_admits_a_rejecting_run_but_starts_it_later(play: Play) -> None:
    play.start("r")
    assert play.cancel("r").outlook == (None, None)
    made = play.admit("next", REJECT)
    assert made.outlook == (None, play.now + GRACE)


@pytest.mark.parametrize("end", ["succeed", "fail", "release"])
def test_a_run_that_ended_by_itself_is_not_waited_for(play: Play, end: str) -> None:
    play.start("r")
    kinds = {"succeed": (ask.SucceedRun, ()), "fail": (ask.FailRun, ("E", "m")), "release": (ask.ReleaseRun, ())}
    kind, more = kinds[end]
    play.put(play.held(kind, "r", *more))
    assert play.thread.drain is None


# Time, and the death of the process


def test_a_run_times_out_at_its_deadline_and_not_an_instant_before(play: Play) -> None:
    play.start("r", steps=1, timeout=20)
    assert play.put(ask.Tick(T)).outlook == (None, START + 20)
    play.now = START + 19
    assert not play.put(ask.Tick(T)).writes
    play.now = START + 20
    made = play.put(ask.Tick(T))
    run = play.run("r")
    assert (run.status, run.reason, run.end_time, run.last_step) == (S.TIMEOUT, R.TIMEOUT, START + 20, 2)
    assert made.outlook == (None, None)


def test_the_time_that_a_run_waits_does_not_count(play: Play) -> None:
    play.start("r")
    play.admit("p", timeout=20)
    play.now += 100
    play.succeed("r")
    play.claimed("p")
    assert not play.put(ask.Tick(T)).writes
    assert play.run("p").deadline == START + 120


@pytest.mark.parametrize("situation", ["no thread", "idle", "pending", "running without a timeout"])
def test_time_alone_changes_nothing_else(play: Play, situation: str) -> None:
    if situation == "no thread":
        play.world = World()
    elif situation != "idle":
        play.admit("r")
    if situation == "running without a timeout":
        play.claimed("r")
    play.now += 1_000_000
    assert not play.put(ask.Tick(T)).writes


def test_a_run_whose_process_died_is_handed_back_with_its_steps(play: Play) -> None:
    play.start("r", steps=1)
    made = play.put(ask.Recover(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.last_step, run.end_time) == (S.PENDING, R.LEASE_LOST, 1, 2, None)
    assert made.outlook.ready == run
    assert [event.kind for event in made.events] == [RunChanged(S.RUNNING, S.PENDING, None, R.LEASE_LOST)]


def test_a_run_that_was_lost_as_often_as_allowed_is_an_error(play: Play) -> None:
    play.start("r")
    play.admit("p")
    play.put(ask.Recover(T))
    play.claimed("r")
    made = play.put(ask.Recover(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.end_time) == (S.ERROR, R.MAX_ATTEMPTS, 2, play.now)
    assert run.error_type == "MaxAttempts"
    assert "2 times" in (run.error_message or "")
    assert made.outlook.ready == play.run("p")


def test_the_death_of_the_process_ends_the_wait_for_stopped_attempts(play: Play) -> None:
    play.start("r")
    play.admit("next", INTERRUPT)
    made = play.put(ask.Recover(T))
    assert play.thread.drain is None
    assert made.outlook.ready == play.run("next")
    assert not play.put(ask.Recover(T)).writes


def test_a_thread_where_nothing_ran_needs_no_recovery(play: Play) -> None:
    play.admit("r")
    made = play.put(ask.Recover(T))
    assert (made.writes, made.outlook.ready) == (False, play.run("r"))
    assert not decide(ThreadView(None), ask.Recover(T), START).writes


# Every small situation: from an empty thread, each request that can be made, until nothing new comes up.

DELAY, ADMITTED = 10, 3
MOST_STEPS, MOST_EPOCHS = 1, 2


def requests(world: World) -> Iterator[ask.Request]:
    """Each request that may matter. Steps and epochs are bounded, or there would be no end."""
    thread = world.thread
    assert thread is not None
    yield from (
        ask.ClaimRun(T, GRAPHS),
        ask.ClaimRun(T, frozenset({"h"})),
        ask.Tick(T),
        ask.Recover(T),
        ask.DeleteThread(T),
    )
    if not world.steps:
        yield ask.UpdateState(T, "{}", DEFAULT_REDUCERS)
    if (number := thread.last_sequence + 1) <= ADMITTED:
        for strategy in Strategy:
            # The second run has a timeout and no grace.
            yield admission(f"r{number}", strategy, OTHER if number == 2 else ASSISTANT)
        if number < ADMITTED:
            yield admission(f"r{number}", ENQUEUE, delay=DELAY)
    for number in range(1, thread.last_sequence + 1):
        name = f"r{number}"
        run = world.runs.get(name)
        if run is not None:
            yield from (ask.CancelRun(T, name, action) for action in CancelAction)
            yield ask.DeleteRun(T, name)
        epoch = run.epoch if run else 1
        if thread.drain and thread.drain.run_id == name:
            yield from (ask.AcknowledgeStop(T, name, epoch), ask.AcknowledgeStop(T, name, epoch + 1))
        yield ask.SucceedRun(T, name, epoch - 1)
        if run is None or run.status is not S.RUNNING:
            yield ask.CommitStep(T, name, epoch, "{}")
            continue
        yield from (ask.SucceedRun(T, name, epoch, "{}"), ask.FailRun(T, name, epoch, "E", "m"))
        yield ask.PublishOutput(T, name, epoch, "c", "{}")
        if run.last_step - (run.base_step or 0) <= MOST_STEPS:
            yield ask.CommitStep(T, name, epoch, "{}")
        if epoch < MOST_EPOCHS:
            yield ask.ReleaseRun(T, name, epoch)


def situation(world: World, now: int) -> object:
    """What of a world can make a difference to what follows: no absolute times, no numbers of events, and of the runs
    that are over only whether they left a record."""
    thread = world.thread
    if thread is None:
        return None

    def left(moment: int | None) -> int | None:
        return None if moment is None else max(moment - now, 0)

    runs = [
        (run.run_id, run.status, run.epoch, run.attempt, run.base_step, left(run.due_time), left(run.deadline))
        for run in world.in_flight()
    ]
    drain = thread.drain and (thread.drain.run_id, left(thread.drain.until))
    return thread.last_sequence, world.steps, drain, frozenset(world.runs), tuple(runs)


def next_moment(world: World, now: int) -> int | None:
    """When the passing of time makes the next difference."""
    assert world.thread is not None
    moments = [moment for run in world.in_flight() for moment in (run.due_time, run.deadline)]
    if world.thread.drain is not None:
        moments.append(world.thread.drain.until)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def test_no_request_breaks_an_invariant_in_any_situation_of_up_to_three_runs() -> None:
    play = Play()
    start = (play.world, play.now)
    seen, queue = {situation(*start)}, deque([start])
    met: Counter[type] = Counter()
    while queue:
        world, now = queue.popleft()
        if world.thread is None:
            continue
        leads_to = []
        if (later := next_moment(world, now)) is not None:
            leads_to.append((world, later))
        for request in requests(world):
            try:
                made = decide(world.view(request), request, now)
            except errors.Refusal as refusal:
                met[type(refusal)] += 1
                continue
            met[type(request)] += 1
            after = world.after(request, made, now)
            judge(world, request, made, now, after)
            if made.writes:
                leads_to.append((after, now))
        for each in leads_to:
            key = situation(*each)
            if key not in seen:
                seen.add(key)
                queue.append(each)
    assert len(seen) > 10_000
    kinds = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, ask.Request)}
    abstract = {ask.Request, ask.RunRequest, ask.LeaseRequest}
    assert kinds - abstract - set(met) == {ask.CreateThread, ask.UpdateThread}
