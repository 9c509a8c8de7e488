"""Requests of every RPC, filled and spoilt by chance, the same ones each time.

DOUBLETEXT_FUZZ_CASES=100000 python -m pytest tests/robustness/fuzz/test_messages.py --timeout 0
plays so many of them instead; a failure names the seed of its round, and DOUBLETEXT_FUZZ_SEED=… begins with that.
"""

import asyncio
import os
import re
from contextlib import suppress
from random import Random
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from doubletext import AssistantExists, ThreadExists
from tests.robustness.fuzz.answers import reason_of
from tests.robustness.fuzz.spoilt_requests import SPOIL, filled
from tests.support.held_resources import at_rest, let_go
from tests.support.request_fields import is_duration, is_id
from tests.support.requests import Scene
from tests.support.rpcs import METHODS
from tests.support.server import said
from tests.support.wire import Wire, framed
from tests.support.worker import claimed

CASES: Final = int(os.environ.get("DOUBLETEXT_FUZZ_CASES", "1000"))
SEED: Final = int(os.environ.get("DOUBLETEXT_FUZZ_SEED", "0"))
PATIENCE: Final = (b"grpc-timeout", b"60m")
"""Of each call, milliseconds: many wait for what does not come. Those of a round pass at the same time."""


ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def parsed(method: str, data: bytes) -> Any:
    """The request that the bytes are; None when they are none."""
    try:
        return GetMessageClass(METHODS[method].input_type).FromString(data)
    except DecodeError:
        return None


def is_good(request: Any) -> bool:
    """Whether its ids and durations are some: nothing else about it is judged."""
    for field, value in request.ListFields():
        if is_id(field) and not ID.fullmatch(value):
            return False
        if is_duration(field) and not (value.seconds >= 0 and 0 <= value.nanos < 10**9):
            return False
    return True


def path_of(method: str) -> str:
    return f"/{METHODS[method].containing_service.full_name}/{method}"


async def played(wire: Wire, scene: Scene, seed: int) -> dict[str, str]:
    """One request of each RPC, all at once. Returns how each was answered."""
    rng, bodies = Random(seed), {}
    for method in METHODS:
        data = filled(rng, scene, method).SerializeToString()
        for _ in range(rng.choice((0, 1, 1, 2))):
            data = rng.choice(SPOIL)(rng, data)
        bodies[method] = data

    async def ask(method: str, data: bytes) -> Any:
        return reason_of(await wire.ask(wire.headers(path_of(method), PATIENCE), framed(data)))

    answers = await asyncio.gather(*(ask(*each) for each in bodies.items()))
    reasons = dict(zip(bodies, answers, strict=True))
    for method, data in bodies.items():
        request, reason = parsed(method, data), reasons[method]
        assert request is not None or reason in ("INVALID_FIELD", "DEADLINE_EXCEEDED"), (method, data)
        assert reason != "OK" or is_good(request), (method, request)
    return reasons


async def restored(scene: Scene, seed: int) -> Scene:
    """The scene with what the last rounds may have deleted or ended."""
    client, name = scene.service.client, f"r{seed}"
    for thread_id in ("t", "other", "remote", name):
        with suppress(ThreadExists):
            await client.threads.create(thread_id)
    for assistant_id in ("echo", "remote"):
        with suppress(AssistantExists):
            await client.assistants.create(assistant_id, assistant_id=assistant_id)
    await client.assistants.create(name, assistant_id=name)
    await client.runs.create(name, name)
    lease = (await claimed(scene.service, name)).lease
    created = await client.runs.create("t", "echo", input=said("hello"), multitask_strategy="interrupt")
    waiting = await client.runs.create("line", "echo", delay=3600, if_thread_not_exists="create")
    return Scene(scene.service, created["run_id"], lease, waiting["run_id"])


@pytest.mark.timeout(0 if CASES > 10_000 else 60)
async def test_whatever_comes_is_answered_in_the_words_of_the_contract(scene: Scene, wire: Wire) -> None:
    before, seen = await at_rest(scene.service), set[str]()
    for seed in range(SEED, SEED + -(-CASES // len(METHODS))):
        try:
            seen |= set((await played(wire, await restored(scene, seed), seed)).values())
            await let_go(scene.service, before)
        except Exception as error:
            raise AssertionError(f"in the round with seed {seed}: {error}") from error
    assert {"OK", "INVALID_FIELD", "RUN_NOT_FOUND", "THREAD_NOT_FOUND"} <= seen
    await scene.service.client.threads.create("afterwards")
