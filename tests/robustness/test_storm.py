"""A few seconds of the storm; `scripts/deep storm` has longer ones."""

from pathlib import Path

import pytest

from tests.robustness.storm import Storm


@pytest.mark.timeout(180)
async def test_each_input_is_in_exactly_one_place_whatever_happens(tmp_path: Path) -> None:
    storm = Storm(tmp_path / "storm.db", seed=7, seconds=5)
    assert await storm.play() == []
    assert not storm.unsure
    assert storm.kills >= 2
    assert storm.edits > 10
    assert len(storm.tags) > 50
    assert storm.steered > 5
