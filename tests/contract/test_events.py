"""The events of a thread: numbered without gaps, with what was committed, less what was rolled back."""

from doubletext_statemachine import commands
from doubletext_statemachine.model import Output, RunChanged, StepCommitted
from doubletext_statemachine.words import Reason
from tests.support.store import ROLLBACK, Hand, S


async def test_events_are_numbered_without_gaps_and_bring_what_was_committed(hand: Hand) -> None:
    await hand.create()
    await hand.admit("r", given={"a": 1})
    hand.clock.now += 5
    await hand.claim()
    await hand.publish("r", "tokens", {"t": 1})
    await hand.commit("r", {"b": 2})
    await hand.succeed("r")
    await hand.update({"c": 3})
    start = hand.clock.now - 5
    expected = [
        (1, "r", RunChanged(None, S.PENDING), None, start),
        (2, "r", RunChanged(S.PENDING, S.RUNNING), None, start + 5),
        (3, "r", StepCommitted(1), '{"a":1}', start + 5),
        (4, "r", Output("tokens", '{"t":1}'), '{"t":1}', start + 5),
        (5, "r", StepCommitted(2), '{"b":2}', start + 5),
        (6, "r", RunChanged(S.RUNNING, S.SUCCESS), None, start + 5),
        (7, None, StepCommitted(3), '{"c":3}', start + 5),
    ]
    for _ in range(2):
        found = await hand.events()
        assert [(e.event.sequence, e.event.run_id, e.event.kind, e.data, e.time) for e in found] == expected
        await hand.reopen()


async def test_events_are_read_from_any_number_on_and_no_more_than_asked_for(hand: Hand) -> None:
    await hand.create()
    await hand.create("other")
    for _ in range(7):
        await hand.update({})
        await hand.update({}, "other")
    for after, limit, expected in (
        (0, 3, [1, 2, 3]),
        (3, 3, [4, 5, 6]),
        (6, 3, [7]),
        (7, 3, []),
        (99, 3, []),
        (0, 99, [1, 2, 3, 4, 5, 6, 7]),
    ):
        found = await hand.store.events("t", after, limit)
        assert [record.event.sequence for record in found] == expected


async def test_the_events_of_a_rolled_back_run_stay_in_number_and_lose_their_content(hand: Hand) -> None:
    await hand.create()
    await hand.admit("old")
    await hand.claim()
    await hand.publish("old", "tokens", {"kept": 0})
    await hand.commit("old", {"kept": 1})
    await hand.succeed("old")
    await hand.admit("r", given={"gone": 1})
    await hand.claim()
    await hand.publish("r", "tokens", {"gone": 2})
    await hand.commit("r", {"gone": 3})
    await hand.admit("new", strategy=ROLLBACK)
    await hand.change(commands.AcknowledgeStop("t", "r", 1))
    await hand.claim()
    await hand.publish("new", "tokens", {"kept": 2})
    await hand.commit("new", {"kept": 3})
    found = await hand.events()
    assert [record.event.sequence for record in found] == list(range(1, len(found) + 1))
    content = [(record.event.run_id, record.data) for record in found if not isinstance(record.event.kind, RunChanged)]
    assert content == [
        ("old", "{}"),
        ("old", '{"kept":0}'),
        ("old", '{"kept":1}'),
        ("r", None),
        ("r", None),
        ("r", None),
        ("new", "{}"),
        ("new", '{"kept":2}'),
        ("new", '{"kept":3}'),
    ]
    (changed,) = [
        r.event.kind for r in found if isinstance(r.event.kind, RunChanged) and r.event.kind.after is S.DELETED
    ]
    assert changed == RunChanged(S.RUNNING, S.DELETED, "new", Reason.SUPERSEDED)
