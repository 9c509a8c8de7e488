"""Lists in pages: each item once, in order, while others come and go, and no page too large to send."""

from collections.abc import Awaitable, Iterator
from functools import partial

import pytest

from doubletext_server.store.protocol import State
from doubletext_server.store.sqlite import lists, reads
from doubletext_statemachine import commands
from doubletext_statemachine.words import ThreadStatus
from tests.support.store import Hand, S, pages


async def test_threads_come_newest_first_in_pages_while_others_come_and_go(hand: Hand) -> None:
    names = [f"t{number:02}" for number in range(20)]
    for number, name in enumerate(names):
        hand.clock.now += number % 3 == 0  # of the same age by threes
        await hand.create(name)
    gone = iter(["t19", "t05", "t10", "t00"])
    born = iter(range(100))

    async def meanwhile() -> None:
        hand.clock.now += 1
        await hand.create(f"new{next(born)}")
        if (name := next(gone, None)) is not None:
            await hand.change(commands.DeleteThread(name))

    read: list[str] = []
    sizes = []
    async for page in pages(lambda after: hand.store.threads([], 3, after), meanwhile):
        read += [record.thread.thread_id for record in page]
        sizes.append(len(page))
    expected = [name for name in reversed(names) if name not in ("t05", "t10", "t00")]
    assert read == expected
    assert set(sizes[:-1]) == {3}


async def test_threads_are_paged_by_status_with_full_pages(hand: Hand) -> None:
    for number in range(12):
        await hand.create(f"t{number:02}")
        if number % 3 == 0:
            await hand.admit(f"r{number}", f"t{number:02}")
    read = [
        [record.thread.thread_id for record in page]
        async for page in pages(lambda after: hand.store.threads([ThreadStatus.BUSY], 2, after))
    ]
    assert read == [["t09", "t06"], ["t03", "t00"]]


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_runs_come_by_sequence_in_pages_while_others_come_and_go(hand: Hand, oldest_first: bool) -> None:
    await hand.create()
    await hand.create("other")
    names = [f"r{number:02}" for number in range(12)]
    for name in names:
        await hand.admit(name)
        await hand.admit(f"other {name}", "other")
        await hand.cancel(name)
    gone = iter(["r11", "r04", "r07", "r00"])
    born = iter(range(100))

    async def meanwhile() -> None:
        name = f"new{next(born)}"
        await hand.admit(name)
        await hand.cancel(name)
        if (name := next(gone, "")) != "":
            await hand.change(commands.DeleteRun("t", name))

    read: list[str] = []
    async for page in pages(lambda after: hand.store.runs("t", [], oldest_first, 3, after), meanwhile):
        read += [record.run.run_id for record in page]
        if len(read) > 40:
            break  # oldest first, new ones keep coming
    assert len(read) == len(set(read))
    left = [name for name in names if name not in ("r11", "r04", "r07", "r00")]
    assert [name for name in read if name in left] == (left if oldest_first else left[::-1])
    if not oldest_first:
        assert not any(name.startswith("new") for name in read)


async def test_runs_are_paged_by_status(hand: Hand) -> None:
    await hand.create()
    for number in range(6):
        await hand.admit(f"r{number}")
        if number % 2:
            await hand.cancel(f"r{number}")
    for statuses, expected in (
        ([S.INTERRUPTED], [["r5", "r3"], ["r1"]]),
        ([S.PENDING], [["r4", "r2"], ["r0"]]),
        ([S.SUCCESS], [[]]),
        ([S.DELETED], [[]]),
        ([S.PENDING, S.INTERRUPTED], [["r5", "r4"], ["r3", "r2"], ["r1", "r0"]]),
    ):
        read = partial(hand.store.runs, "t", statuses, False, 2)
        assert [[record.run.run_id for record in page] async for page in pages(read)] == expected


async def test_a_page_of_large_runs_ends_before_it_is_too_large_to_send(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "LARGEST_PAGE", 1_000)
    await hand.create()
    for number in range(6):
        await hand.admit(f"r{number}", given={"x": "x" * 480})
        await hand.cancel(f"r{number}")
    read = [
        [record.run.run_id for record in page]
        async for page in pages(lambda after: hand.store.runs("t", [], True, 100, after))
    ]
    assert [name for page in read for name in page] == [f"r{number}" for number in range(6)]
    assert {len(page) for page in read[:-1]} == {3}


async def test_states_come_newest_first_in_pages_down_to_step_one(hand: Hand) -> None:
    await hand.create()
    for number in range(1, 8):
        await hand.update({"n": number})
    read = [page async for page in pages(lambda after: hand.store.states("t", 3, after))]
    assert [[state.step for state in page] for page in read] == [[7, 6, 5], [4, 3, 2], [1]]
    assert all(state.values == f'{{"n":{state.step}}}' for page in read for state in page)
    for state in (state for page in read for state in page):
        assert state == await hand.store.state("t", state.step)


async def test_a_thread_without_steps_has_one_empty_page_of_states_and_an_empty_state(hand: Hand) -> None:
    await hand.create()
    page = await hand.store.states("t", 3, None)
    assert (page.items, page.next) == ([], None)
    assert await hand.store.state("t") == State("t", 0, None, hand.clock.now, "{}")


async def test_states_that_were_added_or_rolled_back_between_pages_are_not_read_twice(hand: Hand) -> None:
    await hand.create()
    for number in range(1, 6):
        await hand.update({"n": number})
    await hand.admit("r", given={"n": 6})
    await hand.claim()
    for number in range(7, 11):
        await hand.commit("r", {"n": number})
    acts: Iterator[Awaitable[object]] = iter([hand.commit("r", {"n": 11}), hand.cancel("r", rollback=True)])

    async def meanwhile() -> None:
        for act in acts:
            await act
            return

    read = [page async for page in pages(lambda after: hand.store.states("t", 2, after), meanwhile)]
    assert [[state.step for state in page] for page in read] == [[10, 9], [8, 7], [5, 4], [3, 2], [1]]
    assert all(state.values == f'{{"n":{state.step}}}' for page in read for state in page)


async def test_a_page_of_large_states_ends_before_it_is_too_large_to_send(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "LARGEST_PAGE", 1_000)
    await hand.create()
    for number in range(1, 8):
        await hand.update({"n": number, f"x{number}": "x" * 200})
    read = [page async for page in pages(lambda after: hand.store.states("t", 100, after))]
    assert [state.step for page in read for state in page] == [7, 6, 5, 4, 3, 2, 1]
    assert len(read) > 1
    for state in (state for page in read for state in page):
        assert state == await hand.store.state("t", state.step)
