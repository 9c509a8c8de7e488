"""Outputs are sent in their order, many at a time, all of them, and before what must come after them."""

import asyncio
from collections.abc import Sequence

import pytest

from doubletext import outputs
from doubletext.outputs import Outputs, Shown


class Sent:
    """What was sent. `hold`: sending waits for this event. `fail`: what it raises."""

    def __init__(self) -> None:
        self.batches: list[list[Shown]] = []
        self.came = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()
        self.fail: Exception | None = None

    async def __call__(self, shown: Sequence[Shown]) -> None:
        await self.hold.wait()
        if self.fail is not None:
            raise self.fail
        self.batches.append(list(shown))
        self.came.set()

    @property
    def texts(self) -> list[str]:
        return [shown.data for batch in self.batches for shown in batch]


async def test_what_is_added_within_a_moment_goes_together_and_in_order() -> None:
    sent = Sent()
    out = Outputs(sent)
    for number in range(300):
        await out.add(Shown("c", str(number)))
    await out.flush()
    assert sent.texts == [str(number) for number in range(300)]
    assert len(sent.batches) < 100


async def test_what_is_added_goes_soon_of_itself() -> None:
    sent = Sent()
    await Outputs(sent).add(Shown("c", "1"))
    async with asyncio.timeout(10):
        await sent.came.wait()


async def test_a_call_has_a_megabyte_at_most_and_outputs_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MOST_BYTES", 10)
    sent = Sent()
    sent.hold.clear()
    out = Outputs(sent)
    adding = asyncio.create_task(out.add(Shown("c", "x" * 12)))
    await asyncio.sleep(0)
    sizes = ((4, False), (4, False), (4, False), (1, True), (1, True), (1, False))
    waiting = [asyncio.create_task(out.add(Shown("c", "x" * size, live))) for size, live in sizes]
    await asyncio.sleep(0)
    sent.hold.set()
    await asyncio.gather(adding, *waiting)
    await out.flush()
    assert [[(len(each.data), each.live_only) for each in batch] for batch in sent.batches] == [
        [(12, False)],
        [(4, False), (4, False)],
        [(4, False)],
        [(1, True), (1, True)],
        [(1, False)],
    ]


async def test_a_graph_waits_when_much_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MOST_OUTPUTS", 3)
    sent = Sent()
    sent.hold.clear()
    out = Outputs(sent)
    for _ in range(2):
        await out.add(Shown("c", "1"))
    third = asyncio.create_task(out.add(Shown("c", "1")))
    done, _ = await asyncio.wait([third], timeout=0.05)
    assert not done
    sent.hold.set()
    await third


async def test_a_caller_that_is_cancelled_loses_nothing() -> None:
    sent = Sent()
    sent.hold.clear()
    out = Outputs(sent)
    await out.add(Shown("c", "1"))
    flushing = asyncio.create_task(out.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait([flushing])
    sent.hold.set()
    await out.flush()
    assert sent.texts == ["1"]


async def test_a_failure_is_raised_at_the_next_call() -> None:
    sent = Sent()
    sent.fail = ValueError("no")
    out = Outputs(sent)
    await out.add(Shown("c", "1"))
    for call in (out.flush, out.flush, lambda: out.add(Shown("c", "2"))):
        with pytest.raises(ValueError, match="no"):
            await call()


async def test_what_waits_when_the_lease_is_over_is_dropped() -> None:
    sent = Sent()
    out = Outputs(sent)
    await out.add(Shown("c", "1"))
    out.drop()
    await out.flush()
    assert sent.batches == []
