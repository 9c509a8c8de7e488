"""LEASE_LOST: each way in which a lease ends, times each call that presents one."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.support.clock import ManualClock
from tests.support.rpcs import Refused, refused
from tests.support.server import Service
from tests.support.worker import Held, begun, claimed, dump, say, scene, tick

LEASE = 15
CALLS: Final[dict[str, Callable[[Held], Any]]] = {
    "CommitStep": Held.commit,
    "PublishOutput": Held.publish,
    "Heartbeat": Held.beat,
    "WatchLease": Held.watch,
    "FinishRun": Held.fail,
    "ReleaseRun": Held.release,
}


class Scene(NamedTuple):
    service: Service
    clock: ManualClock
    held: Held

    @property
    def run_id(self) -> str:
        return self.held.lease.run_id

    async def acknowledge(self) -> None:
        """The stop, so that what follows is nobody's last word."""
        await self.held.release()

    def later(self, seconds: float) -> None:
        self.clock.forward(seconds)


async def superseded_by_interrupt(scene: Scene) -> None:
    await say(scene.service, "b", "interrupt")
    await scene.acknowledge()


async def superseded_by_rollback(scene: Scene) -> None:
    await say(scene.service, "b", "rollback")
    await scene.acknowledge()


async def cancelled(scene: Scene) -> None:
    await scene.service.client.runs.cancel("t", scene.run_id)
    await scene.acknowledge()


async def cancelled_with_rollback(scene: Scene) -> None:
    await scene.service.client.runs.cancel("t", scene.run_id, action="rollback")
    await scene.acknowledge()


async def timed_out(scene: Scene) -> None:
    scene.later(10)
    await tick(scene.service)
    await scene.acknowledge()


async def grace_is_over(scene: Scene) -> None:
    """And nothing has noticed yet."""
    await scene.service.client.runs.cancel("t", scene.run_id)
    scene.later(5)


async def expired(scene: Scene) -> None:
    """And nothing has noticed yet."""
    await scene.held.beat()
    scene.later(LEASE)


async def expired_and_noticed(scene: Scene) -> None:
    scene.later(LEASE)
    await tick(scene.service)


async def taken_over(scene: Scene) -> None:
    await expired_and_noticed(scene)
    assert (await claimed(scene.service)).lease.epoch == 2


async def released(scene: Scene) -> None:
    await scene.held.release()


async def released_and_claimed(scene: Scene) -> None:
    await scene.held.release()
    assert (await claimed(scene.service)).lease.epoch == 2


async def finished_well(scene: Scene) -> None:
    await scene.held.succeed("done")


async def finished_with_an_error(scene: Scene) -> None:
    await scene.held.fail("another error than the late one")


async def given_up(scene: Scene) -> None:
    """Its attempts used up."""
    for _ in range(2):
        await expired_and_noticed(scene)
        await claimed(scene.service)
    await expired_and_noticed(scene)


async def thread_deleted(scene: Scene) -> None:
    await scene.service.client.threads.delete("t")


async def record_deleted(scene: Scene) -> None:
    await scene.held.succeed()
    await scene.service.client.runs.delete("t", scene.run_id)


ENDS: Final[list[tuple[Callable[[Scene], Awaitable[None]], str, int]]] = [
    # how it ended, the cause that is told, the current epoch
    (superseded_by_interrupt, "SUPERSEDED", 1),
    (superseded_by_rollback, "SUPERSEDED", 0),
    (cancelled, "CANCELLED", 1),
    (cancelled_with_rollback, "CANCELLED", 0),
    (timed_out, "TIMEOUT", 1),
    (grace_is_over, "CANCELLED", 1),
    (expired, "EXPIRED", 1),
    (expired_and_noticed, "LEASE_LOST", 1),
    (taken_over, "CLAIMED_AGAIN", 2),
    (released, "RELEASED", 1),
    (released_and_claimed, "CLAIMED_AGAIN", 2),
    (finished_well, "SUCCESS", 1),
    (finished_with_an_error, "ERROR", 1),
    (given_up, "MAX_ATTEMPTS", 3),
    (thread_deleted, "DELETED", 0),
    (record_deleted, "DELETED", 0),
]

ANSWERED: Final = {(released, "ReleaseRun"), (grace_is_over, "FinishRun"), (grace_is_over, "ReleaseRun")}
"""What is no late call: a release told twice, and an acknowledgement for which the thread still waits."""


def assert_lost(error: Refused, run_id: str, epoch: int, current_epoch: int, cause: str) -> None:
    assert (error.code, error.reason, error.rest) == ("FAILED_PRECONDITION", "LEASE_LOST", {})
    assert error.metadata == {
        "run_id": run_id,
        "epoch": str(epoch),
        "current_epoch": str(current_epoch),
        "cause": cause,
    }


@pytest.mark.parametrize(("end", "cause", "current"), ENDS, ids=[end.__name__ for end, _, _ in ENDS])
async def test_every_call_of_a_lease_that_is_over_is_refused_and_writes_nothing(
    tmp_path: Path, end: Callable[[Scene], Awaitable[None]], cause: str, current: int
) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock, lease=LEASE) as service:
        held = await begun(service, timeout=10 if end is timed_out else None)
        await held.commit("in time")
        await end(Scene(service, clock, held))
        before = dump(service)
        for name, late in CALLS.items():
            if (end, name) not in ANSWERED:
                error = await refused(late(held))
                assert_lost(error, held.lease.run_id, 1, current, cause)
                assert dump(service) == before, f"{name} wrote"


async def test_a_lease_that_nobody_gave_is_refused(tmp_path: Path) -> None:
    """Of another epoch, of a run that waits, that is unknown, or that the server executes itself."""
    async with scene(tmp_path / "w.db") as service:
        own = await service.started("t", "own")
        thread_id = await service.thread()
        held = await begun(service, thread=thread_id)
        queued = await say(service, "b", "enqueue", thread=thread_id)
        before = dump(service)
        for guess, current, cause in (
            (held.guessed(epoch=2), 1, "CLAIMED_AGAIN"),
            (held.guessed(epoch=2**62), 1, "CLAIMED_AGAIN"),
            (held.guessed(queued["run_id"]), 0, "PENDING"),
            (held.guessed("nobodys"), 0, "DELETED"),
            (held.guessed(own["run_id"]), 1, "FOREIGN"),
            (held.guessed(own["run_id"], 2), 1, "CLAIMED_AGAIN"),
        ):
            for call in CALLS.values():
                error = await refused(call(guess))
                assert_lost(error, guess.lease.run_id, guess.lease.epoch, current, cause)
        assert dump(service) == before
        assert (await held.commit("mine")).step == 2


async def test_a_worker_cannot_acknowledge_the_stop_of_a_run_that_the_server_executes(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await service.client.assistants.delete("scripted")
        await service.client.assistants.create("scripted", assistant_id="scripted", stop_grace=3600)
        own = await service.started("t", "own", stubborn=True)
        held = (await begun(service, thread=await service.thread())).guessed(own["run_id"])
        after = await service.say("t", "after", "interrupt")
        for call in CALLS.values():
            error = await refused(call(held))
            assert_lost(error, own["run_id"], 1, 1, "SUPERSEDED")
        waits = await service.client.runs.get("t", after["run_id"])
        assert (waits["status"], waits["queue_position"]) == ("pending", 1)
