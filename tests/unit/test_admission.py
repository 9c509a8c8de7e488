"""Admitting a run: what each strategy does to those in flight, what is refused, and what a repeated call comes to."""

from dataclasses import replace

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.model import Assistant, RunChanged, Thread, ThreadView
from doubletext_statemachine.words import CancelAction, RunStatus, Strategy
from tests.unit.play import (
    ASSISTANT,
    ENQUEUE,
    GRACE,
    INTERRUPT,
    OTHER,
    REJECT,
    ROLLBACK,
    START,
    Play,
    admission,
    busy_thread,
)
from tests.unit.world import R, S, T


@pytest.mark.parametrize("strategy", list(Strategy))
def test_on_an_idle_thread_every_strategy_starts_the_run(play: Play, strategy: Strategy) -> None:
    made = play.admit("r", strategy)
    assert made.admitted == made.run == play.run("r")
    assert (made.admitted.sequence, made.admitted.status, made.queue_position) == (1, S.PENDING, 1)
    assert made.superseded == []
    assert made.upcoming.ready == made.admitted
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
    assert play.thread.stopping is None
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
    play.put(play.held(commands.ReleaseRun, "r"))
    made = play.admit("new", ROLLBACK)
    assert made.cut_to == 0
    assert [run.run_id for run in made.superseded] == ["early", "r"]
    assert {run.run_id: run.base_step for run in made.superseded} == {"early": 0, "r": 0}
    assert play.thread.stopping is None


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
        play.put(commands.DeleteRun(T, "r"))
    assert play.admit("ignored", request_id="q", digest="d").repeated == "r"


def test_a_request_id_used_for_another_call_is_refused_before_the_strategy(play: Play) -> None:
    play.start("r", request_id="q", digest="d")
    for strategy in Strategy:
        request = admission("new", strategy, request_id="q", digest="other")
        assert play.refused(request, errors.RequestIdReused) == {"request_id": "q", "thread_id": T, "run_id": "r"}
