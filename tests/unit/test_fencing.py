"""An attempt that holds no lease changes nothing, and is told why: the run's end, another claim, time, or no right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Output
from doubletext_statemachine.words import CancelAction
from tests.unit.play import INTERRUPT, LEASE, ROLLBACK, Play
from tests.unit.world import T

LEASE_REQUESTS: Final[dict[str, tuple[type[commands.LeaseCommand], tuple[Any, ...]]]] = {
    "CommitStep": (commands.CommitStep, ("{}",)),
    "CommitStep of a number": (commands.CommitStep, ("{}", 2)),
    "PublishOutput": (commands.PublishOutput, ((Output("c", "{}"),),)),
    "PublishOutput of nothing": (commands.PublishOutput, ((),)),
    "Heartbeat": (commands.Heartbeat, (LEASE,)),
    "SucceedRun": (commands.SucceedRun, ()),
    "SucceedRun with a step": (commands.SucceedRun, ("{}", "digest")),
    "FailRun": (commands.FailRun, ("E", "m", "digest")),
    "ReleaseRun": (commands.ReleaseRun, ()),
}


def lose(play: Play) -> Decision:
    """Whoever executes `r` dies, which shows at a restart of the server, or at the end of the worker's lease."""
    play.now += LEASE
    play.put(commands.Tick(T))
    return play.put(commands.Recover(T))


def time_out(play: Play) -> None:
    play.now += 5
    play.put(commands.Tick(T))


STOPS: Final[dict[str, tuple[Callable[[Play], object], str, int]]] = {
    # what happened to the run, and the cause and epoch that its attempt is told
    "was cancelled": (lambda play: play.cancel("r"), "CANCELLED", 1),
    "was cancelled with rollback": (lambda play: play.cancel("r", CancelAction.ROLLBACK), "CANCELLED", 0),
    "was interrupted": (lambda play: play.admit("n", INTERRUPT), "SUPERSEDED", 1),
    "was rolled back": (lambda play: play.admit("n", ROLLBACK), "SUPERSEDED", 0),
    "timed out": (time_out, "TIMEOUT", 1),
}
ENDS: Final[dict[str, tuple[Callable[[Play], object], str, int]]] = {
    **STOPS,
    "succeeded": (lambda play: play.succeed("r"), "SUCCESS", 1),
    "failed": (lambda play: play.put(play.held(commands.FailRun, "r", "E", "m")), "ERROR", 1),
    "was released": (lambda play: play.put(play.held(commands.ReleaseRun, "r")), "RELEASED", 1),
    "was lost": (lose, "LEASE_LOST", 1),
    "was lost too often": (lambda play: (lose(play), play.claim(), lose(play)), "MAX_ATTEMPTS", 2),
    "was released and claimed again": (
        lambda play: (play.put(play.held(commands.ReleaseRun, "r")), play.claim()),
        "CLAIMED_AGAIN",
        2,
    ),
    "was lost and claimed again": (lambda play: (lose(play), play.claim()), "CLAIMED_AGAIN", 2),
    "was lost and claimed by a worker": (lambda play: (lose(play), play.take("r", lease=99)), "CLAIMED_AGAIN", 2),
    "was recorded no more": (lambda play: (play.succeed("r"), play.put(commands.DeleteRun(T, "r"))), "DELETED", 0),
    "lost its thread": (lambda play: play.put(commands.DeleteThread(T)), "DELETED", 0),
}


@pytest.fixture(params=["server", "worker"])
def by_worker(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "worker")


def executed(play: Play, *, by_worker: bool, **more: Any) -> None:
    """The run `r` in execution under epoch 1, by a worker or by the server itself."""
    if by_worker:
        play.remote("r", **more)
    else:
        play.start("r", **more)


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("end", list(ENDS))
def test_an_attempt_whose_run_is_over_changes_nothing_and_is_told_why(
    play: Play, by_worker: bool, end: str, kind: str
) -> None:
    happened, cause, current = ENDS[end]
    executed(play, by_worker=by_worker, timeout=5 if end == "timed out" else None)
    happened(play)
    play.put(commands.AcknowledgeStop(T, "r", 1))
    request, more = LEASE_REQUESTS[kind]
    late = request(T, "r", 1, *more, by_worker=by_worker)
    if (kind, end) == ("ReleaseRun", "was released"):
        assert not play.put(late).writes
        return
    facts = play.refused(late, errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": str(current), "cause": cause}


@pytest.mark.parametrize("kind", [kind for kind in LEASE_REQUESTS if kind.startswith(("CommitStep", "PublishOutput"))])
@pytest.mark.parametrize("end", list(STOPS))
def test_a_stopped_attempt_is_fenced_at_once_and_not_only_when_its_grace_is_over(
    play: Play, by_worker: bool, end: str, kind: str
) -> None:
    happened, cause, current = STOPS[end]
    executed(play, by_worker=by_worker, timeout=5 if end == "timed out" else None)
    happened(play)
    assert play.thread.stopping
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", 1, *more, by_worker=by_worker), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": str(current), "cause": cause}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_that_is_not_the_current_one_is_no_lease(play: Play, by_worker: bool, kind: str, epoch: int) -> None:
    executed(play, by_worker=by_worker)
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", epoch, *more, by_worker=by_worker), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": str(epoch), "current_epoch": "1", "cause": "CLAIMED_AGAIN"}


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
def test_a_workers_lease_holds_until_its_last_instant_and_not_at_its_end(play: Play, kind: str) -> None:
    expires = play.remote("r").lease_expires
    assert expires == play.now + LEASE
    request, more = LEASE_REQUESTS[kind]
    play.now = expires
    facts = play.refused(request(T, "r", 1, *more, by_worker=True), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": "1", "cause": "EXPIRED"}
    play.now = expires - 1
    play.put(request(T, "r", 1, *more, by_worker=True))


def test_of_a_lease_that_is_both_replaced_and_over_the_claim_is_the_cause(play: Play) -> None:
    play.remote("r")
    lose(play)
    play.take("r")
    play.now += LEASE
    assert (
        play.refused(play.wire(commands.CommitStep, "r", "{}", epoch=1), errors.LeaseLost)["cause"] == "CLAIMED_AGAIN"
    )
    assert play.refused(play.wire(commands.CommitStep, "r", "{}", epoch=2), errors.LeaseLost)["cause"] == "EXPIRED"


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
def test_the_servers_own_attempt_ends_by_no_time_and_is_not_a_workers_to_write(play: Play, kind: str) -> None:
    play.start("r")
    play.now += 1_000_000_000
    request, more = LEASE_REQUESTS[kind]
    foreign = request(T, "r", 1, *more, by_worker=True)
    facts = play.refused(foreign, errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "1", "current_epoch": "1", "cause": "FOREIGN"}
    if kind != "Heartbeat":  # the server has none
        play.put(replace(foreign, by_worker=False))


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
@pytest.mark.parametrize("end", list(STOPS))
def test_the_servers_own_stopped_attempt_is_not_a_workers_to_acknowledge(play: Play, end: str, kind: str) -> None:
    happened, cause, _ = STOPS[end]
    play.start("r", timeout=5 if end == "timed out" else None)
    happened(play)
    request, more = LEASE_REQUESTS[kind]
    assert play.refused(request(T, "r", 1, *more, by_worker=True), errors.LeaseLost)["cause"] == cause
    assert not play.put(commands.AcknowledgeStop(T, "r", 1, by_worker=True)).writes
    assert play.thread.stopping


@pytest.mark.parametrize("kind", list(LEASE_REQUESTS))
def test_a_run_that_nobody_has_claimed_is_nobodys(play: Play, by_worker: bool, kind: str) -> None:
    play.admit("r")
    request, more = LEASE_REQUESTS[kind]
    facts = play.refused(request(T, "r", 0, *more, by_worker=by_worker), errors.LeaseLost)
    assert facts == {"run_id": "r", "epoch": "0", "current_epoch": "0", "cause": "PENDING"}
