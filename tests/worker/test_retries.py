"""Calls whose answer was lost, and that are made again: the same answer, and nothing twice."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import worker_service_pb2 as pb
from tests.support.clock import ManualClock
from tests.support.rpcs import Refused, refused
from tests.support.server import said
from tests.support.worker import begun, claim, claimed, dump, message, say, scene, tick


def assert_wrong_number(error: Refused, expected: int) -> None:
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(error.metadata) == ["expected_step"]
    assert error.metadata["expected_step"].startswith(f"is {expected}")


async def test_a_step_that_is_told_again_by_its_number_is_made_once(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        for number, text in ((2, "1"), (3, "2"), (4, "3")):
            assert (await held.commit(text, expected_step=number)).step == number
        before = dump(service)
        for number, text in ((4, "3"), (2, "1"), (3, "2"), (4, "3")):
            assert (await held.commit(text, expected_step=number)).step == number
        assert dump(service) == before
        assert (await held.commit("4", expected_step=5)).step == 5
        assert await service.contents("t") == ["a", "1", "2", "3", "4"]


async def test_a_step_without_a_number_is_a_new_one_each_time(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        assert [(await held.commit("again")).step for _ in range(3)] == [2, 3, 4]
        assert await service.contents("t") == ["a", "again", "again", "again"]


async def test_another_step_under_a_number_that_is_taken_or_out_of_line_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        await service.client.threads.update_state("t", {"messages": [{"role": "assistant", "content": "by hand"}]})
        earlier = await begun(service, "earlier")
        await earlier.succeed("earlier's")  # steps 2 and 3
        held = await begun(service)  # its input is step 4
        await held.commit("1")
        await held.commit("2")
        before = dump(service)
        for number, text in (
            (5, "other"),
            (6, "1"),
            (1, "by hand"),
            (3, "earlier's"),
            (8, "too far"),
            (2**60, "much too far"),
        ):
            assert_wrong_number(await refused(held.commit(text, expected_step=number)), number)
        for number in (0, -1):
            assert_wrong_number(await refused(held.commit(expected_step=number)), number)
        given = Struct()
        given.update(said("a"))
        request = pb.CommitStepRequest(lease=held.lease, update=given, expected_step=4)
        assert_wrong_number(await refused(held.stub.CommitStep(request)), 4)
        assert dump(service) == before


async def test_the_order_of_an_objects_keys_makes_no_other_step(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        for keys in (("x", "y", "z"), ("z", "x", "y")):
            update = Struct()
            for key in keys:
                update[key] = dict.fromkeys(keys, 1)
            request = pb.CommitStepRequest(lease=held.lease, update=update, expected_step=2)
            assert (await held.stub.CommitStep(request)).step == 2
        assert (await service.client.threads.get_state("t"))["step"] == 2


async def test_a_second_attempt_that_makes_the_same_steps_by_number_adds_only_what_is_missing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        first = await begun(service)
        await first.commit("1", expected_step=2)
        clock.forward(15)
        await tick(service)
        second = await claimed(service)
        assert (await second.commit("1", expected_step=2)).step == 2
        assert (await second.commit("2", expected_step=3)).step == 3
        assert await service.contents("t") == ["a", "1", "2"]


async def test_a_step_that_is_told_again_after_the_stop_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        await held.commit("1", expected_step=2)
        await say(service, "b", "interrupt")
        assert (await refused(held.commit("1", expected_step=2))).metadata["cause"] == "SUPERSEDED"
        await held.release()
        heir = await claimed(service)
        assert (await refused(held.commit("1", expected_step=2))).metadata["cause"] == "SUPERSEDED"
        assert_wrong_number(await refused(heir.commit("1", expected_step=2)), 2)


@pytest.mark.parametrize("outcome", ["success", "success with a step", "error"])
async def test_a_finish_that_is_told_again_answers_as_it_did(tmp_path: Path, outcome: str) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        held = await begun(service, metadata={"m": 1})

        def finish() -> Any:
            return held.fail("oh") if outcome == "error" else held.succeed("done" if "step" in outcome else None)

        first = (await finish()).run
        assert first.status == (resources.RUN_STATUS_ERROR if outcome == "error" else resources.RUN_STATUS_SUCCESS)
        assert first.last_step == (2 if "step" in outcome else 1)
        clock.forward(1)
        before = dump(service)
        assert (await finish()).run == first
        clock.forward(3600)
        await tick(service)
        assert (await finish()).run == first
        assert dump(service) == before
        heir = await begun(service, "b", strategy="rollback")
        assert (await finish()).run == first
        await heir.release()

        for other in (held.succeed("other"), held.fail("other")):
            error = await refused(other)
            assert (error.metadata["cause"], error.metadata["current_epoch"]) == (
                "ERROR" if outcome == "error" else "SUCCESS",
                "1",
            )
        await service.client.runs.delete("t", held.lease.run_id)
        assert (await refused(finish())).metadata["cause"] == "DELETED"


async def test_the_outcome_of_one_attempt_is_no_repetition_of_anothers(tmp_path: Path) -> None:
    clock = ManualClock()
    async with scene(tmp_path / "w.db", clock) as service:
        first = await begun(service)
        clock.forward(15)
        await tick(service)
        second = await claimed(service)
        await second.succeed("done")
        assert (await refused(first.succeed("done"))).metadata["current_epoch"] == "2"


async def test_a_finish_that_acknowledged_a_stop_is_refused_each_time(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        await service.client.runs.cancel("t", held.lease.run_id)
        for _ in range(2):
            assert (await refused(held.succeed("done"))).metadata["cause"] == "CANCELLED"
        assert (await service.client.runs.get("t", held.lease.run_id))["status"] == "interrupted"


async def test_a_release_that_is_told_again_does_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        await held.release()
        before = dump(service)
        await held.release()
        assert dump(service) == before
        again = await claimed(service)
        assert (await refused(held.release())).metadata["cause"] == "CLAIMED_AGAIN"
        assert (again.run.attempt, again.lease.epoch) == (1, 2)
        assert await claim(service) is None


async def test_an_output_of_no_parts_writes_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path / "w.db") as service:
        held = await begun(service)
        before = dump(service)
        await held.stub.PublishOutput(pb.PublishOutputRequest(lease=held.lease))
        assert dump(service) == before
        several = [resources.Output(channel=str(number), data=message("x")) for number in range(3)]
        await held.stub.PublishOutput(pb.PublishOutputRequest(lease=held.lease, outputs=several))
        assert [event.event.sequence for event in await service.events("t")] == [1, 2, 3, 4, 5, 6]
