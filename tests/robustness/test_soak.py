"""A few seconds of the soak; scripts/soak has the long one."""

import random
from pathlib import Path
from typing import Any

import pytest

from doubletext import Client
from tests.robustness.history.recorder import Recorder
from tests.robustness.soak import one_round
from tests.robustness.traffic.client import Caller, Scene

SECONDS = 4
SEED = 17


async def test_what_clients_saw_is_linearizable_under_random_calls_and_kills(tmp_path: Path) -> None:
    tally = await one_round(SEED, 1, SECONDS, tmp_path)
    assert not tally.wrong, "\n".join([*tally.lines(), *tally.wrong])
    assert sum(tally.harm.values()) > 0
    assert sum(tally.calls.values()) > 50
    assert tally.looks > 1, "nothing looked at the file while all went on"


class Planner(Caller):
    """Only says what it would do."""

    def __init__(self, scene: Scene, seed: str, calls: int) -> None:
        super().__init__(1, Client(), scene, seed)
        self.left = calls
        self.plan: list[Any] = []

    async def one(self, kind: str, thread: str, chance: random.Random) -> None:
        self.plan.append((kind, thread, chance.random()))
        self.left -= 1
        if not self.left:
            self.scene.over.set()


@pytest.mark.parametrize(("first", "second"), [("1 1", "1 1"), ("1 1", "1 2"), ("1 1", "2 1")])
async def test_a_seed_and_a_round_say_what_callers_do(tmp_path: Path, first: str, second: str) -> None:
    plans = []
    for seed in (first, second):
        recorder = Recorder(tmp_path / "history.jsonl")
        scene = Scene(["a", "b"], recorder)
        scene.pause = _no_pause  # type: ignore[method-assign]
        agent = Planner(scene, seed, 30)
        await agent.work()
        recorder.close()
        plans.append(agent.plan)
    assert (plans[0] == plans[1]) is (first == second)


async def _no_pause(seconds: float) -> None:
    pass
