"""A graph does the same in the server and in a worker, whatever it gives and however it ends."""

import asyncio
import enum
from collections import OrderedDict
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from doubletext import Context, graph
from tests.support.server import Service, serving


class Text(str):
    pass


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Hidden(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


def nested(levels: int) -> dict[str, Any]:
    inner: Any = 1
    for _ in range(levels):
        inner = {"a": inner}
    return {"deep": inner}


VALUES: Final[dict[str, Any]] = {
    "nothing": {},
    "zeros": {"v": [0, -0, 0.0, -0.0]},
    "large ints": {"v": [2**53, 2**53 + 1, 2**64, -(2**70)]},
    "floats": {"v": [0.1, 1e300, 5e-324, 1e16]},
    "a decimal": {"v": Decimal("1e400")},
    "a decimal that is short": {"v": Decimal("0.10")},
    "no number": {"v": float("nan")},
    "infinite": {"v": float("inf")},
    "an infinite decimal": {"v": Decimal("Infinity")},
    "a number of 4301 digits": {"v": 10**4300},
    "booleans": {"v": [True, False, None]},
    "a surrogate": {"v": "\ud800", "\udfff": 1},
    "NUL": {"v": "\x00", "\x00": "é"},
    "a tuple": {"v": (1, (2, "x"))},
    "a mapping": MappingProxyType({"v": MappingProxyType({"x": 1})}),
    "an ordered dict": OrderedDict([("z", 1), ("a", 2)]),
    "subclasses": {"v": [Text("x"), Colour.RED, Level.LOW]},
    "bytes": {"v": b"x"},
    "a set": {"v": {1}},
    "an object": {"v": object()},
    "a number as key": {"v": {1: 2}},
    "a text of its own as key": {Text("v"): 1},
    "29 levels": nested(29),
    "31 levels": nested(31),
    "too many bytes": {"v": "x" * (4 * 1024 * 1024)},
    "a list": [1],
    "a text": "x",
    "a removal": {"kept": {"doubletext:absent": True}},
    "messages": {"messages": [{"id": "1", "content": "a"}, {"id": "1", "content": "b"}]},
    "an empty id": {"messages": [{"id": "", "content": "a"}, {"id": "", "content": "b"}]},
}
ENDS: Final = (
    "returns nothing",
    "an error",
    "an error that hides",
    "an error with a surrogate",
    "exits",
    "interrupts",
    "cancels itself",
    "stops iteration",
    "emits a long channel",
    "emits with no text as channel",
    "emits what is no JSON",
    "emits and fails",
)


@graph
async def yielding(ctx: Context) -> AsyncIterator[Any]:
    yield {"kept": 1}
    await ctx.emit("shown", {"case": ctx.input["case"]})
    yield VALUES[ctx.input["case"]]


@graph
async def emitting(ctx: Context) -> AsyncIterator[Any]:
    await ctx.emit("shown", VALUES[ctx.input["case"]])
    yield {"after": 1}


@graph
async def returning(ctx: Context) -> Any:
    return VALUES[ctx.input["case"]]


@graph
async def ending(ctx: Context) -> Any:
    match ctx.input["case"]:
        case "an error":
            raise LookupError("nowhere")
        case "an error that hides":
            raise Hidden
        case "an error with a surrogate":
            raise ValueError("half \ud800")
        case "exits":
            raise SystemExit(3)
        case "interrupts":
            raise KeyboardInterrupt
        case "cancels itself":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        case "stops iteration":
            return next(iter(()))
        case "emits a long channel":
            await ctx.emit("c" * 1025, {})
        case "emits with no text as channel":
            await ctx.emit(7, {})  # type: ignore[arg-type]
        case "emits what is no JSON":
            await ctx.emit("c", {"a": {1}})
        case "emits and fails":
            await ctx.emit("c", {"a": 1})
            raise LookupError("after that")
    return None


CASES: Final = [
    *((name, case) for name in ("yielding", "emitting", "returning") for case in VALUES),
    *(("ending", case) for case in ENDS),
]


async def played(service: Service, name: str, case: str) -> dict[str, Any]:
    run = await service.client.runs.create("t", name, input={"case": case})
    joined = await service.client.runs.join("t", run["run_id"], wait=20)
    events = [event async for event in service.client.runs.watch("t", run["run_id"])]
    return {
        "status": joined["run"]["status"],
        "error": joined["run"]["error"],
        "last_step": joined["run"]["last_step"],
        "values": repr(joined["state"]["values"]),
        "outputs": [repr(event["output"]) for event in events if "output" in event],
    }


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Service, Service]]:
    graphs = (yielding, emitting, returning, ending)
    async with (
        serving(tmp_path / "own.db", graphs) as own,
        serving(tmp_path / "worker.db", graphs, by_worker=True) as worker,
    ):
        for service in (own, worker):
            await service.client.threads.create("t")
        yield own, worker


async def test_a_graph_does_the_same_in_the_server_and_in_a_worker(both: tuple[Service, Service]) -> None:
    own, worker = both
    differ = {}
    ends = set()
    for name, case in CASES:
        here, there = await asyncio.gather(played(own, name, case), played(worker, name, case))
        ends.add(here["status"])
        if here != there:
            differ[name, case] = {key: (here[key], there[key]) for key in here if here[key] != there[key]}
    assert differ == {}
    assert ends == {"success", "error"}
