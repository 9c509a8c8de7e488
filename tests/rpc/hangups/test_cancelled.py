"""Each RPC, cancelled after 0, 1, 2 … turns of the event loop, which both sides share here: all of it has happened or
nothing, nothing is held for it any more, and the same call made again does what it would have done."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.rpc.hangups.cases import ROWS, Row
from tests.rpc.hangups.prepared_thread import Stage
from tests.rpc.test_races import turns
from tests.support.clock import ManualClock
from tests.support.held_resources import at_rest, let_go
from tests.support.rpcs import METHODS, call, read
from tests.support.server import Service, serving

ENOUGH: Final = 200
"""Turns after which whoever waits for something that does not come has long been waiting."""
AT_ONCE: Final = 14


def strides() -> Iterator[int]:
    """0, 1, 2 … 8, and then further and further apart."""
    held_on = 0
    while True:
        yield held_on
        held_on += 1 if held_on < 8 else held_on // 2


async def stages(row: Row, service: Service, clock: ManualClock) -> AsyncIterator[Stage]:
    """As many as are asked for, set up some at a time: they share their commits."""
    for first in count(0, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        for stage in await asyncio.gather(*(row.set_up(service, clock, number) for number in numbers)):
            yield stage


def test_every_rpc_has_its_row() -> None:
    assert set(ROWS) == set(METHODS)


def test_calls_that_wait_are_those_of_which_the_rows_say_so() -> None:
    streams = {name for name, method in METHODS.items() if method.server_streaming}
    assert {name for name, row in ROWS.items() if not row.ends} == streams | {"JoinRun"}


@pytest.mark.parametrize("name", ROWS)
async def test_a_client_that_hangs_up_leaves_all_of_a_call_or_nothing(tmp_path: Path, name: str) -> None:
    row, clock, seen, answered = ROWS[name], ManualClock(), set(), False
    async with serving(tmp_path / "test.db", clock=clock, lease=3600) as service:
        for number, held_on in enumerate(strides()):
            stage = await row.set_up(service, clock, number)
            before = await at_rest(service)
            answered = await hung_up(service, name, stage, held_on)
            await let_go(service, before)
            seen.add(facts := stage.facts())
            assert facts in ((), row.all), f"half of it happened, {held_on} turns on"
            assert facts == row.all or not answered, "it was answered, and did not happen"
            if row.ends:
                await once_more(service, name, row, stage, happened=facts == row.all)
            if answered or (held_on > ENOUGH and not row.ends):
                break
    assert answered == row.ends
    assert seen == {(), row.all}


async def hung_up(service: Service, name: str, stage: Stage, held_on: int) -> bool:
    """Call, and hang up after so many turns. Returns whether the answer was there by then."""
    rpc = call(service.channel, METHODS[name], ROWS[name].request(stage))
    if isinstance(rpc, grpc.aio.UnaryStreamCall):
        return await stream_hung_up(rpc, held_on)
    await turns(held_on)
    if not rpc.cancel():
        await rpc
        return True
    with pytest.raises(asyncio.CancelledError):
        await rpc
    return False


async def stream_hung_up(rpc: "grpc.aio.UnaryStreamCall[object, object]", held_on: int) -> bool:
    async def read_on() -> None:
        async for _ in rpc:
            pass

    reading = asyncio.create_task(read_on())
    await turns(held_on)
    answered = not rpc.cancel()
    await asyncio.wait([reading])
    assert answered or reading.cancelled()
    return answered


async def once_more(service: Service, name: str, row: Row, stage: Stage, *, happened: bool) -> None:
    """Make the same call again: what it does depends on whether it has happened, and how it ends does too."""
    refused: str | None = None
    try:
        await call(service.channel, METHODS[name], row.request(stage))
    except grpc.aio.AioRpcError as error:
        refused = read(error).reason
    assert refused == (row.again if happened else None)
    assert stage.facts() == (row.twice if happened and row.twice is not None else row.all)
