"""Lists by status and by metadata: what fits each filter, and what no longer does."""

from typing import Any, Final

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.words import ThreadStatus
from tests.support.store import Hand, S, pages, text

METADATA: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "one": {"n": 1},
    "text": {"n": "1"},
    "true": {"n": True},
    "null": {"n": None},
    "list": {"n": [1, {"b": 2, "a": 1}]},
    "two": {"n": 1, "m": {"b": 1.5, "a": []}},
    "other": {"m": 1},
    "é": {"é": "é", "": ""},
}
FITS: Final[list[tuple[str, list[str]]]] = [
    ("{}", list(METADATA)),
    ('{"n":1}', ["one", "two"]),
    ('{"n":1.0}', ["one", "two"]),
    ('{"n":"1"}', ["text"]),
    ('{"n":true}', ["true"]),
    ('{"n":null}', ["null"]),
    ('{"n":2}', []),
    ('{"n":[1,{"a":1,"b":2}]}', ["list"]),
    ('{"n":[1.0,{"b":2,"a":1}]}', ["list"]),
    ('{"n":[{"a":1,"b":2},1]}', []),
    ('{"m":{"a":[],"b":1.5}}', ["two"]),
    ('{"m":{"b":1.5}}', []),
    ('{"n":1,"m":{"a":[],"b":1.5}}', ["two"]),
    ('{"n":1,"m":1}', []),
    ('{"m":1}', ["other"]),
    ('{"1":"n"}', []),
    ('{"é":"é"}', ["é"]),
    ('{"":""}', ["é"]),
    ('{"absent":null}', []),
]


async def threads(hand: Hand, metadata: str = "{}", *statuses: ThreadStatus, limit: int = 100) -> list[str]:
    """The ids of all threads that fit."""

    def read(after: list[Any] | None) -> Any:
        return hand.store.threads(statuses, limit, after, metadata)

    return [record.thread.thread_id async for page in pages(read) for record in page]


async def runs(hand: Hand, metadata: str = "{}", *statuses: S, oldest_first: bool = False, limit: int = 100) -> Any:
    """The ids of all runs of the thread `t` that fit."""

    def read(after: list[Any] | None) -> Any:
        return hand.store.runs("t", statuses, oldest_first, limit, after, metadata)

    return [record.run.run_id async for page in pages(read) for record in page]


@pytest.mark.parametrize(("wanted", "expected"), FITS)
async def test_metadata_fits_that_has_each_key_with_an_equal_value(
    hand: Hand, wanted: str, expected: list[str]
) -> None:
    await hand.create()
    for name, metadata in METADATA.items():
        await hand.create(name, metadata=text(metadata))
        await hand.admit(name, metadata=text(metadata))
        hand.clock.now += 1
    found = await threads(hand, wanted)
    assert [name for name in found if name != "t"] == expected[::-1]
    assert await runs(hand, wanted) == expected[::-1]
    assert await runs(hand, wanted, oldest_first=True) == expected
    assert await runs(hand, wanted, S.SUCCESS) == []
    assert await runs(hand, wanted, S.PENDING, S.SUCCESS) == expected[::-1]


async def test_a_threads_new_metadata_takes_the_place_of_the_old(hand: Hand) -> None:
    await hand.create(metadata='{"a":1,"b":1}')
    for other in (
        commands.UpdateThread("t", {"max_queued_runs": 5}),
        commands.UpdateThread("t", {"metadata": '{"a":1,"b":1}'}),
    ):
        await hand.change(other)
        assert await threads(hand, '{"a":1,"b":1}') == ["t"]
    await hand.change(commands.UpdateThread("t", {"metadata": '{"b":1,"c":1}'}))
    assert [await threads(hand, text({key: 1})) for key in "abc"] == [[], ["t"], ["t"]]
    await hand.change(commands.UpdateThread("t", {"metadata": "{}"}))
    assert [await threads(hand, text({key: 1})) for key in "abc"] == [[], [], []]


async def test_a_thread_that_was_deleted_and_made_anew_has_nothing_of_the_old_one(hand: Hand) -> None:
    for _ in range(2):
        await hand.create(metadata='{"a":1}')
        await hand.admit("r", metadata='{"a":1}')
        await hand.cancel("r")
        assert await threads(hand, '{"a":1}', ThreadStatus.INTERRUPTED) == ["t"]
        await hand.change(commands.DeleteThread("t"))
        assert await threads(hand, '{"a":1}') == []
        await hand.create()
        await hand.admit("s")
        assert await threads(hand, '{"a":1}') == []
        assert await threads(hand, "{}", ThreadStatus.INTERRUPTED) == []
        assert await runs(hand, '{"a":1}') == []
        await hand.change(commands.DeleteThread("t"))


async def test_a_run_that_was_rolled_back_or_deleted_is_not_found_by_its_metadata(hand: Hand) -> None:
    await hand.create()
    for name in ("rolled back", "deleted", "kept"):
        await hand.admit(name, metadata='{"a":1}')
    assert await runs(hand, '{"a":1}', oldest_first=True) == ["rolled back", "deleted", "kept"]
    await hand.claim()
    await hand.cancel("rolled back", rollback=True)
    await hand.cancel("deleted")
    await hand.change(commands.DeleteRun("t", "deleted"))
    assert await runs(hand, '{"a":1}') == ["kept"]
