"""A short soak; scripts/soak has the long one."""

from pathlib import Path

from tests.worker.soak import Plan, show, soak


async def test_no_invariant_is_broken_under_random_calls_and_kills(tmp_path: Path) -> None:
    plan = Plan(seconds=4, seed=1, workers=10, slots=4, threads=100)
    tally = await soak(plan, tmp_path)
    assert not tally.violations, "\n".join(show(plan, tally))
    assert tally.harm["workers killed"] > 0
    assert tally.events["taken from silent workers"] + tally.events["handed back"] > 0
    assert tally.observations > 100
