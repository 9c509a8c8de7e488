"""Every small situation: from a thread that does not exist, each call that can be made, until nothing new comes up.

What is bounded, and why more adds nothing:

- Three runs are in flight at once. One has started or heads the queue, one is next, and the third may overtake or be
  overtaken: no rule looks at more of them than at one another. `scripts/deep walk` tries it with four.
- There are two assistants. Attempts of one are awaited and tried again; those of the other have a timeout. Of each
  duration there is one, of leases two: one that ends within the grace and one that outlasts it. All are a few units of
  time, so that each moment comes before, with and after each other one.
- In the first walk any number of runs may be over; in the second, two are admitted in all and it is told apart how
  each of them ended. `scripts/deep walk` does that with three. Steps, epochs and releases are not bounded:
  `situations` says why there is an end to it.
- Of the runs that are over, those asked about are the one that is awaited, and the newest that left a record or a
  tombstone.

Not walked are the contents of steps, and a thread's own settings: `test_state`, `test_threads`.
"""

from collections.abc import Callable
from typing import Final

import pytest

from doubletext_statemachine import commands, errors
from doubletext_statemachine.words import LeaseCause
from tests.unit.possible_commands import Bounds
from tests.unit.walk import Walk

WALKS: Final = {
    "three runs in flight, of any number": (Bounds(3, workers=True), 2_000),
    "two runs, and what is left of each": (Bounds(2, workers=True, ever=2), 800),
    "the words of the queue": (Bounds(2, workers=False, queue_words="few"), 800),
    "editing": (Bounds(2, workers=False, editing=True), 100),
    "steering": (Bounds(2, workers=False, steering=True), 100),
}
KINDS: Final = {
    kind for kind in vars(commands).values() if isinstance(kind, type) and issubclass(kind, commands.Command)
} - {
    commands.Command,
    commands.RunCommand,
    commands.LeaseCommand,
}
REFUSALS: Final = {
    errors.RunChanged,
    errors.RunStarted,
    errors.RevisionChanged,
    errors.ThreadBusy,
    errors.ThreadInFlight,
    errors.ThreadExists,
    errors.ThreadNotFound,
    errors.RunNotFound,
    errors.AssistantNotFound,
    errors.RequestIdReused,
    errors.RunInFlight,
    errors.LeaseLost,
    errors.QueueFull,
    errors.InvalidField,
}
"""Those that the arbiter gives."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", list(WALKS))
def test_no_call_breaks_an_invariant_in_any_situation(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    bounds, at_least = WALKS[name]
    walk = Walk(bounds)
    walk.go()
    record_property("figures", f"every small case: {name}: {walk.figures()}")
    assert len(walk.nodes) > at_least
    met_by_workers = set() if bounds.workers else {commands.Heartbeat}
    met_elsewhere: set[type[Exception] | type[commands.Command]] = {errors.ThreadBusy} if bounds.steering else set()
    if not bounds.editing:
        met_elsewhere |= {commands.CancelRuns, commands.UpdateRun, commands.MoveRun}
        met_elsewhere |= {errors.RunStarted, errors.RevisionChanged}
    assert set(walk.met) == (KINDS | REFUSALS) - met_by_workers - met_elsewhere
    assert walk.late
    if bounds.ever is not None:  # else those asked about are not told apart
        assert walk.causes == set(LeaseCause) - {LeaseCause.MERGED}
