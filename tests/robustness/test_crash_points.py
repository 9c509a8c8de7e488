"""Crash points, a sample of them: scripts/crashpoints has them all.

Of each kind and mode the first, the last, and INNER between them at even distances, each mode's elsewhere than the
others'.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.robustness.failpoints.points import MODES, Launcher, Point
from tests.robustness.failpoints.trial import attempt

INNER: Final = 1
AT_ONCE: Final = 2
AFTER_AN_ANSWER: Final = 20
"""A commit before any checkpoint: what was answered is in the log alone."""


def sample(kind: str, total: int) -> Iterator[Point]:
    modes = MODES[kind]
    for index, mode in enumerate(modes):
        inner = ((number + (index + 1) / (len(modes) + 1)) * total / INNER for number in range(INNER))
        for at in sorted({1, *(int(each) for each in inner), total}):
            yield Point(kind, mode, at)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", MODES)
async def test_every_answer_is_true_after_a_crash_at_any_point(servers: Launcher, kind: str, tmp_path: Path) -> None:
    undisturbed = await attempt(servers, tmp_path / "undisturbed.db", None)
    assert not undisturbed.wrong
    assert undisturbed.counts is not None
    points = sample(kind, undisturbed.counts[kind])
    wrong: dict[str, list[str]] = {}
    crashes = 0

    async def one_after_the_other() -> None:
        nonlocal crashes
        for point in points:
            trial = await attempt(servers, tmp_path / f"{point.mode}{point.at}.db", point)
            crashes += trial.counts is None
            if trial.wrong:
                wrong[str(point)] = trial.wrong

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    assert not wrong
    assert crashes >= len(MODES[kind]) * (INNER + 1), "the servers did not crash where they were to"


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
async def test_a_server_that_answers_before_it_has_synced_is_found_out(
    servers: Launcher, synchronous: str, tmp_path: Path
) -> None:
    """Planted: the last answer before the power fails is a lie then."""
    undisturbed = await attempt(servers, tmp_path / "undisturbed.db", None, synchronous)
    assert not undisturbed.wrong
    trial = await attempt(servers, tmp_path / "power.db", Point("commit", "power", AFTER_AN_ANSWER), synchronous)
    assert any("gone" in each for each in trial.wrong), trial
