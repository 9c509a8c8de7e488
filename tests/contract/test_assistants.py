"""Assistants: as they were added, one of an id, and kept by their runs when they are deleted."""

import asyncio
from dataclasses import replace

import pytest

from doubletext_statemachine import errors
from doubletext_statemachine.model import Assistant
from doubletext_statemachine.words import Reducer
from tests.support.store import MARKER, Hand, SqliteHand, everything


async def test_an_assistant_is_read_as_it_was_added_also_after_reopening(hand: Hand) -> None:
    given = Assistant(0, "b", "h", 5, '{"m":1}', '{"c":2}', {"x": Reducer.APPEND, "y": Reducer.MESSAGES}, 7, 8, 9)
    added = await hand.store.add_assistant(given)
    assert replace(added, key=0) == given
    for _ in range(2):
        assert hand.store.assistant("b") == added
        assert [assistant.assistant_id for assistant in hand.store.assistants()] == ["a", "b"]
        await hand.reopen()


async def test_an_assistants_id_is_taken_until_it_is_deleted(hand: Hand) -> None:
    with pytest.raises(errors.AssistantExists) as refused:
        await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    assert refused.value.facts == {"assistant_id": "a"}
    await hand.store.delete_assistant("a")
    again = await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    assert hand.store.assistant("a") == again
    assert again.key != hand.assistant.key


async def test_of_two_assistants_of_one_id_added_at_once_one_is_refused(hand: Hand) -> None:
    both = [hand.store.add_assistant(Assistant(0, "b", graph, 0)) for graph in "xy"]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, Assistant)
    assert isinstance(second, errors.AssistantExists)
    assert hand.store.assistant("b") == first


async def test_a_deleted_assistant_is_gone_but_its_runs_keep_it(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r")
    await hand.store.delete_assistant("a")
    await hand.store.add_assistant(Assistant(0, "a", "other", 0))
    for _ in range(2):
        assert (await hand.record("r")).run.assistant == hand.assistant
        await hand.reopen()
    await hand.store.delete_assistant("a")
    assert (hand.store.assistant("a"), hand.store.assistants()) == (None, [])
    with pytest.raises(errors.AssistantNotFound):
        await hand.store.delete_assistant("a")
    await hand.reopen()
    assert (hand.store.assistant("a"), hand.store.assistants()) == (None, [])
    assert (await hand.claim()).assistant == hand.assistant


async def test_what_a_deleted_assistant_held_goes_once_no_run_in_flight_has_it(sqlite: SqliteHand) -> None:
    held = await sqlite.store.add_assistant(Assistant(0, "b", "g", 0, '{"m":1}', f'{{"c":"{MARKER}"}}'))
    idle = await sqlite.store.add_assistant(Assistant(0, "c", "g", 0, '{"m":1}', f'{{"c":"{MARKER}"}}'))
    await sqlite.create()
    await sqlite.admit("r", assistant=held)
    await sqlite.admit("s", assistant=idle)
    await sqlite.cancel("s")
    for name in "bc":
        await sqlite.store.delete_assistant(name)
    for _ in range(2):
        configs = {row[0]: row[5] for row in everything(sqlite.path)["assistants"] if row[0] in (held.key, idle.key)}
        assert configs == {held.key: held.config, idle.key: "{}"}
        assert (await sqlite.record("r")).run.assistant == held
        assert (await sqlite.record("s")).run.assistant == replace(idle, metadata="{}", config="{}", reducers={})
        await sqlite.reopen()
    await sqlite.cancel("r")
    await sqlite.reopen()
    assert (await sqlite.record("r")).run.assistant.config == "{}"
    assert MARKER not in str(everything(sqlite.path))
