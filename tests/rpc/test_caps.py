"""What one call may hold: as much as is said, one more is refused by the field's name, before work is done for it."""

import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from doubletext.v1 import resources_pb2 as pb
from doubletext_server.usecases import assistants as assistants_module
from tests.support.requests import Scene
from tests.support.rpcs import METHODS, call

Fill = Callable[[Any, int], object]
CAPS: Final[dict[str, tuple[str, str, int, Fill]]] = {
    "graphs": ("ClaimRun", "graphs", 256, lambda request, n: request.graphs.extend([f"g{i}" for i in range(n)])),
    "statuses of runs": ("ListRuns", "statuses", 16, lambda request, n: request.statuses.extend([2] * n)),
    "statuses of threads": ("ListThreads", "statuses", 16, lambda request, n: request.statuses.extend([2] * n)),
    "reducers": (
        "CreateAssistant",
        "reducers",
        256,
        lambda request, n: request.reducers.update({f"k{i}": pb.REDUCER_APPEND for i in range(n)}),
    ),
    "outputs": (
        "PublishOutput",
        "outputs",
        10_000,
        lambda request, n: request.outputs.extend([pb.Output(channel="c")] * n),
    ),
    "config": (
        "CreateAssistant",
        "config",
        256 * 1024,
        lambda request, n: request.config.update({"a": "x" * (n - len('{"a":""}'))}),
    ),
}


@pytest.mark.parametrize("name", list(CAPS))
async def test_one_more_than_a_field_may_hold_is_refused_and_says_how_many_it_may(scene: Scene, name: str) -> None:
    method, field, most, fill = CAPS[name]
    async with scene.unmoved():
        request = scene.good(method)
        request.ClearField(field)
        fill(request, most + 1)
        wrong = await scene.invalid(method, request)
        assert set(wrong) == {field}
        assert str(most) in wrong[field]
        assert str(most + 1) in wrong[field]
    request = scene.good(method)
    request.ClearField(field)
    fill(request, most)
    if method == "CreateAssistant":
        request.assistant_id = "full"
    await call(scene.service.channel, METHODS[method], request)


def nulls(count: int) -> Struct:
    """An object of so many values in all: a list, and nulls."""
    return Struct(fields={"a": Value(list_value=ListValue(values=[Value(null_value=NULL_VALUE)] * (count - 1)))})


async def test_an_object_may_hold_250_000_values(scene: Scene) -> None:
    request = scene.good("UpdateState")
    request.values.CopyFrom(nulls(250_000))
    await call(scene.service.channel, METHODS["UpdateState"], request)
    request.values.CopyFrom(nulls(250_001))
    wrong = await scene.invalid("UpdateState", request)
    assert wrong == {"values": "values has more than 250000 values"}


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("ListRuns", "statuses", [99] * 3_900_000),
        ("ClaimRun", "graphs", ["g"] * 1_000_000),
        ("UpdateState", "values", nulls(900_000)),
    ],
    ids=["statuses", "graphs", "values"],
)
async def test_four_megabytes_of_small_elements_cost_the_server_no_more_than_to_read_them(
    scene: Scene, method: str, field: str, value: Any
) -> None:
    """Statuses took 7 ms for each kB, a million graphs a second, and values 2 ms for each kB."""
    request = scene.good(method)
    request.ClearField(field)
    if isinstance(value, list):
        getattr(request, field).extend(value)
    else:
        getattr(request, field).CopyFrom(value)
    before = time.thread_time()
    assert field in await scene.invalid(method, request)
    assert time.thread_time() - before < 1


async def test_there_may_be_a_thousand_assistants(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(scene.service.app.store.assistants())
    monkeypatch.setattr(assistants_module, "MOST_ASSISTANTS", there + 1)
    create = scene.service.client.assistants
    await create.create("g", assistant_id="last")
    request = scene.good("CreateAssistant")
    request.assistant_id = "one-more"
    assert "delete one" in (await scene.invalid("CreateAssistant", request))["assistant_id"]
    await create.delete("last")
    await create.create("g", assistant_id="one-more")
