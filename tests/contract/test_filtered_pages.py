"""Filtered lists in pages: all that fits all along, once and in order, while others come and go."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from doubletext_server.store.sqlite import lists
from doubletext_statemachine import commands
from doubletext_statemachine.words import ThreadStatus
from tests.support.store import Hand, S, pages, text

ALL: Final = tuple(ThreadStatus)
WALKED: Final[list[tuple[str, tuple[ThreadStatus, ...]]]] = [
    (metadata, statuses)
    for metadata in ("{}", '{"a":0}', '{"a":0,"b":1}')
    for statuses in ((), (ThreadStatus.IDLE,), (ThreadStatus.BUSY,), ALL[1:3], ALL[2:], ALL)
]


async def a_thread(hand: Hand, name: str, dice: random.Random) -> None:
    """A thread with some metadata and some status, perhaps of the same age as the one before it."""
    hand.clock.now += dice.randrange(2)
    await hand.create(name, metadata=text({"a": dice.randrange(2), "b": dice.randrange(2)}))
    status = dice.choice(ALL)
    if status is ThreadStatus.IDLE and dice.randrange(2):
        return
    await hand.admit(f"{name} 1", name)
    await hand.claim(name)
    if status is ThreadStatus.INTERRUPTED:
        await hand.cancel(f"{name} 1", name)
    elif status is ThreadStatus.ERROR:
        await hand.change(commands.FailRun(name, f"{name} 1", 1, "E", "m"))
    else:
        await hand.succeed(f"{name} 1", name)
    if status is ThreadStatus.BUSY:
        await hand.admit(f"{name} 2", name)


async def a_run(hand: Hand, name: str, dice: random.Random) -> None:
    await hand.admit(name, metadata=text({"a": dice.randrange(2), "b": dice.randrange(2)}))
    if dice.randrange(3) == 0:
        await hand.claim()
        await hand.succeed((await hand.store.runs("t", [], True, 100, None)).items[0].run.run_id)
    elif dice.randrange(2):
        await hand.cancel(name)


async def paged(
    read: Callable[[list[Any] | None], Awaitable[Any]],
    id_of: Callable[[Any], str],
    come: Callable[[str], Awaitable[object]],
    go: Callable[[str], Awaitable[object]],
    dice: random.Random,
) -> tuple[list[str], list[str], set[str]]:
    """What fitted at first, what was listed while after each page some came and one went, and what went."""
    expected = [id_of(record) async for page in pages(read) for record in page]
    left, gone, number = list(expected), set[str](), 0

    async def meanwhile() -> None:
        nonlocal number
        for _ in range(2):
            await come(f"new{number}")
            number += 1
        if left:
            name = left.pop(dice.randrange(len(left)))
            gone.add(name)
            await go(name)

    listed = []
    async for page in pages(read, meanwhile):
        listed += [id_of(record) for record in page]
        if number > 100:
            break  # oldest first, new ones keep coming
    return expected, listed, gone


@pytest.mark.parametrize(
    ("metadata", "statuses", "misses"),
    [(*walked, 2) for walked in WALKED] + [(*walked, lists.MOST_MISSES) for walked in WALKED[::5]],
)
async def test_each_thread_that_fits_all_along_is_listed_once_and_in_order(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, metadata: str, statuses: tuple[ThreadStatus, ...], misses: int
) -> None:
    monkeypatch.setattr(lists, "MOST_MISSES", misses)
    dice = random.Random(f"{metadata} {statuses}")
    for number in range(30):
        await a_thread(hand, f"t{number:02}", dice)
    expected, listed, gone = await paged(
        lambda after: hand.store.threads(statuses, 3, after, metadata),
        lambda record: str(record.thread.thread_id),
        lambda name: a_thread(hand, name, dice),
        lambda name: hand.change(commands.DeleteThread(name)),
        dice,
    )
    by_hand = []
    for number in reversed(range(30)):
        if f"t{number:02}" in gone:
            continue
        record = await hand.store.thread(f"t{number:02}")
        if record.status in (statuses or ALL) and all(pair in record.thread.metadata for pair in pairs(metadata)):
            by_hand.append((record.thread.create_time, f"t{number:02}"))
    assert [name for _, name in sorted(by_hand, reverse=True)] == [name for name in expected if name not in gone]
    old = [name for name in listed if not name.startswith("new") and name not in gone]
    assert old == [name for name in expected if name not in gone]
    assert len(set(listed)) == len(listed)
    assert expected


def pairs(metadata: str) -> list[str]:
    """What stands in the text of metadata that fits."""
    return metadata.strip("{}").split(",") if metadata != "{}" else []


@pytest.mark.parametrize(("oldest_first", "misses"), [(False, 2), (True, 2), (True, lists.MOST_MISSES)])
@pytest.mark.parametrize("metadata", ["{}", '{"a":0}', '{"a":0,"b":1}'])
@pytest.mark.parametrize(
    "statuses", [(), (S.PENDING,), (S.SUCCESS,), (S.INTERRUPTED, S.SUCCESS, S.RUNNING), (S.PENDING, S.INTERRUPTED)]
)
async def test_each_run_that_fits_all_along_is_listed_once_and_in_order(
    hand: Hand,
    monkeypatch: pytest.MonkeyPatch,
    metadata: str,
    statuses: tuple[S, ...],
    oldest_first: bool,
    misses: int,
) -> None:
    monkeypatch.setattr(lists, "MOST_MISSES", misses)
    dice = random.Random(f"{metadata} {statuses} {oldest_first}")
    await hand.create()
    for number in range(18):
        await hand.admit(f"r{number:02}", metadata=text({"a": number % 2, "b": number // 2 % 2}))
        if number % 3 == 1:
            await hand.cancel(f"r{number:02}")
        if number % 5 == 4:
            done = await hand.claim()
            await hand.succeed(done.run_id)

    async def go(name: str) -> None:
        await hand.cancel(name)
        await hand.change(commands.DeleteRun("t", name))

    async def come(name: str) -> None:
        await hand.admit(name, metadata='{"a":0,"b":1}')
        await hand.cancel(name)

    expected, listed, gone = await paged(
        lambda after: hand.store.runs("t", statuses, oldest_first, 3, after, metadata),
        lambda record: str(record.run.run_id),
        come,
        go,
        dice,
    )
    by_hand = []
    for number in range(18):
        name = f"r{number:02}"
        if name not in gone:
            record = await hand.record(name)
            if record.run.status in (statuses or tuple(S)) and all(p in record.metadata for p in pairs(metadata)):
                by_hand.append(name)
    kept = [name for name in expected if name not in gone]
    assert kept == (by_hand if oldest_first else by_hand[::-1])
    old = [name for name in listed if not name.startswith("new") and name not in gone]
    assert old == kept
    assert len(set(listed)) == len(listed)
    assert oldest_first or not any(name.startswith("new") for name in listed)
    assert expected


async def test_a_page_ends_early_when_filters_rule_each_other_out_and_the_next_goes_on(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_MISSES", 5)
    for number in range(60):
        hand.clock.now += 1
        both = number == 0
        await hand.create(f"t{number}", metadata='{"a":1,"b":1}' if both else text({"ab"[number % 2]: 1}))
    read = [page async for page in pages(lambda after: hand.store.threads([], 10, after, '{"a":1,"b":1}'))]
    assert [record.thread.thread_id for page in read for record in page] == ["t0"]
    assert len(read) > 5
    assert read[0] == []


async def test_a_page_of_threads_with_large_metadata_ends_before_it_is_too_large_to_send(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LARGEST_PAGE", 1_000)
    for number in range(6):
        hand.clock.now += 1
        await hand.create(f"t{number}", metadata=text({"x": "x" * 480}))
    read = [page async for page in pages(lambda after: hand.store.threads([], 100, after))]
    assert [record.thread.thread_id for page in read for record in page] == [f"t{number}" for number in range(6)][::-1]
    assert {len(page) for page in read[:-1]} == {3}
