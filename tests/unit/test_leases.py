"""A worker's lease: what a claim gives, what renews it, and what comes of the run when it is over."""

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.model import Output, RunChanged
from tests.unit.play import ASSISTANT, GRAPHS, LEASE, START, Play
from tests.unit.world import R, S, T


def test_a_workers_claim_is_a_lease_for_a_time(play: Play) -> None:
    play.admit("r")
    made = play.put(commands.ClaimRun(T, GRAPHS, "w", LEASE))
    run = play.run("r")
    assert (run.worker_id, run.lease_expires, run.epoch, run.attempt) == ("w", START + LEASE, 1, 1)
    assert made.upcoming == (None, START + LEASE)


def test_the_servers_own_claim_is_a_lease_for_as_long_as_its_process_lasts(play: Play) -> None:
    play.admit("r")
    made = play.put(commands.ClaimRun(T, GRAPHS))
    run = play.run("r")
    assert (run.worker_id, run.lease_expires) == (None, None)
    assert made.upcoming == (None, None)


def test_whoever_claims_next_takes_the_run_over_altogether(play: Play) -> None:
    play.remote("r")
    play.put(play.wire(commands.ReleaseRun, "r"))
    assert (play.run("r").worker_id, play.run("r").lease_expires) == ("w", None)
    run = play.claimed("r")
    assert (run.worker_id, run.lease_expires, run.epoch) == (None, None, 2)
    play.put(commands.Recover(T))
    run = play.take("r", worker="v")
    assert (run.worker_id, run.lease_expires, run.epoch) == ("v", START + LEASE, 3)


@pytest.mark.parametrize(("timeout", "wake"), [(LEASE - 1, LEASE - 1), (LEASE + 1, LEASE), (None, LEASE)])
def test_a_thread_wakes_at_the_deadline_or_at_the_end_of_the_lease_whichever_comes_first(
    play: Play, timeout: int | None, wake: int
) -> None:
    play.admit("r", timeout=timeout)
    made = play.put(commands.ClaimRun(T, GRAPHS, "w", LEASE))
    assert made.upcoming == (None, START + wake)


def test_a_heartbeat_makes_the_lease_last_from_now_on_and_changes_nothing_else(play: Play) -> None:
    before = play.remote("r", steps=1)
    thread = play.thread
    play.now += LEASE - 1
    made = play.beat("r", 7)
    assert made.run == play.run("r") == before._replace(lease_expires=play.now + 7)
    assert (made.events, made.steps, made.thread) == ([], [], thread)
    assert made.upcoming == (None, play.now + 7)
    assert thread.update_time == START


def test_a_worker_that_keeps_its_lease_alive_is_never_replaced(play: Play) -> None:
    play.remote("r")
    for _ in range(10):
        play.now += LEASE - 1
        assert not play.put(commands.Tick(T)).writes
        play.beat("r")
    play.put(play.wire(commands.SucceedRun, "r"))
    assert (play.run("r").attempt, play.now) == (1, START + 10 * (LEASE - 1))


def test_what_an_attempt_writes_does_not_renew_its_lease(play: Play) -> None:
    expires = play.remote("r").lease_expires
    play.now += 1
    play.put(play.wire(commands.CommitStep, "r", "{}"))
    play.put(play.wire(commands.PublishOutput, "r", (Output("c", "{}"),)))
    assert play.run("r").lease_expires == expires


@pytest.mark.parametrize("end", ["succeed", "fail", "release", "cancel", "time out"])
def test_a_run_that_is_not_running_has_no_lease(play: Play, end: str) -> None:
    play.remote("r", timeout=LEASE - 1)
    play.now += LEASE - 1
    {
        "succeed": lambda: play.put(play.wire(commands.SucceedRun, "r")),
        "fail": lambda: play.put(play.wire(commands.FailRun, "r", "E", "m")),
        "release": lambda: play.put(play.wire(commands.ReleaseRun, "r")),
        "cancel": lambda: play.cancel("r"),
        "time out": lambda: play.put(commands.Tick(T)),
    }[end]()
    assert play.run("r").status is not S.RUNNING
    assert (play.run("r").lease_expires, play.run("r").worker_id) == (None, "w")


# A lease that is over


def test_a_run_whose_lease_is_over_goes_back_to_its_place_with_its_steps_and_not_an_instant_before(play: Play) -> None:
    play.remote("r", steps=1)
    play.admit("p")
    play.now = START + LEASE - 1
    assert not play.put(commands.Tick(T)).writes
    play.now = START + LEASE
    made = play.put(commands.Tick(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.epoch, run.last_step) == (S.PENDING, R.LEASE_LOST, 1, 1, 2)
    assert [event.kind for event in made.events] == [RunChanged(S.RUNNING, S.PENDING, None, R.LEASE_LOST)]
    assert play.thread.stopping is None
    assert made.upcoming == (run, None)


def test_a_run_that_is_taken_over_has_a_new_epoch_one_more_attempt_and_its_input_once(play: Play) -> None:
    play.remote("r", steps=1)
    play.now += LEASE
    play.put(commands.Tick(T))
    run = play.take("r", worker="v")
    assert (run.epoch, run.attempt, run.worker_id, run.reason) == (2, 2, "v", None)
    assert (run.base_step, run.last_step, play.steps()) == (0, 2, ("r", "r"))


def test_a_run_that_silences_its_workers_ends_and_the_next_one_starts(play: Play) -> None:
    play.remote("r", steps=1)
    play.admit("p")
    for _ in range(ASSISTANT.max_attempts - 1):
        play.now += LEASE
        play.put(commands.Tick(T))
        play.take("r")
    play.now += LEASE
    made = play.put(commands.Tick(T))
    run = play.run("r")
    assert (run.status, run.reason, run.attempt, run.end_time) == (S.ERROR, R.MAX_ATTEMPTS, 2, play.now)
    assert (run.error_type, run.last_step) == ("MaxAttempts", 2)
    assert "2 times" in (run.error_message or "")
    assert (made.upcoming.ready, play.thread.stopping) == (play.run("p"), None)
    play.take("p")


def test_a_run_that_is_handed_back_has_used_up_no_attempt_however_often(play: Play) -> None:
    play.remote("r")
    for _ in range(5):
        made = play.put(play.wire(commands.ReleaseRun, "r"))
        run = play.run("r")
        assert (run.status, run.attempt, run.reason) == (S.PENDING, 0, R.RELEASED)
        assert made.upcoming.ready == run
        assert play.take("r").attempt == 1
    for status in (S.PENDING, S.ERROR):
        play.now += LEASE
        play.put(commands.Tick(T))
        assert play.run("r").status is status
        if status is S.PENDING:
            play.take("r")


def test_of_a_run_whose_time_and_lease_are_both_over_the_time_decides(play: Play) -> None:
    play.remote("r", timeout=LEASE)
    play.now += LEASE
    play.put(commands.Tick(T))
    assert (play.run("r").status, play.run("r").reason) == (S.TIMEOUT, R.TIMEOUT)


# Who is lost by time, and who with the server's process


def test_time_loses_no_attempt_of_the_servers_own(play: Play) -> None:
    play.start("r")
    play.now += 1_000_000_000
    made = play.put(commands.Tick(T))
    assert (made.writes, made.upcoming) == (False, (None, None))


@pytest.mark.parametrize("late", [0, LEASE, 10 * LEASE])
def test_a_worker_keeps_its_run_when_the_servers_process_dies(play: Play, late: int) -> None:
    run = play.remote("r", steps=1)
    play.now += late
    made = play.put(commands.Recover(T))
    assert (made.writes, play.run("r")) == (False, run)
    assert made.upcoming == (None, START + LEASE)
    if late:
        play.put(commands.Tick(T))
        assert play.run("r").reason is R.LEASE_LOST
    else:
        play.put(play.wire(commands.CommitStep, "r", "{}"))
