"""The front of a thread's line is enough to decide on."""

import pytest

from doubletext_statemachine.arbiter import needs_all
from tests.unit.long_queues import SEEDS, THREADS, Lines, front_of


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_view_promises_is_enough_to_decide_as_if_all_were_known(seed: int) -> None:
    lines = Lines(seed)
    for world, now in lines.situations(THREADS):
        for request, later in lines.asked(world):
            every = world.view(request)
            assert every.thread is not None
            if not needs_all(request, every.thread):
                lines.same(front_of(every, request, now + later), every, request, now + later)
    assert lines.not_met() <= {"DeleteThread", "CancelRuns", "UpdateRun", "MoveRun"}
