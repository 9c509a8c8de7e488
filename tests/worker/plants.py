"""Violations of each invariant, planted in a record that is good."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from tests.support.record import Event, Record, Run, Step


def changed(event: Event, **changes: Any) -> Event:
    """`change` is given as a dict of its parts, by their numbers."""
    if event.change is not None and isinstance(parts := changes.get("change"), dict):
        given = [parts.get(place, part) for place, part in enumerate(event.change)]
        changes["change"] = tuple(given)
    return replace(event, **changes)


def with_event(record: Record, at: int, **changes: Any) -> Record:
    events = list(record.events)
    events[at] = changed(events[at], **changes)
    return replace(record, events=tuple(events))


def with_events(record: Record, events: Iterable[Event]) -> Record:
    """In this order, numbered anew, at the times of their places."""
    events = list(events)
    times = [event.time for event in record.events] + [record.events[-1].time] * len(events)
    numbered = [replace(event, sequence=n, time=times[n - 1]) for n, event in enumerate(events, 1)]
    return replace(record, events=tuple(numbered), last_event=len(numbered))


def inserted(record: Record, at: int, event: Event) -> Record:
    return with_events(record, [*record.events[:at], event, *record.events[at:]])


def moved(record: Record, at: int, to: int) -> Record:
    events = list(record.events)
    events.insert(to, events.pop(at))
    return with_events(record, events)


def with_run(record: Record, run_id: str, **changes: Any) -> Record:
    runs = [replace(run, **changes) if run.run_id == run_id else run for run in record.runs]
    return replace(record, runs=tuple(runs))


def run_of(record: Record, sequence: int) -> Run:
    return next(run for run in record.runs if run.sequence == sequence)


def where(record: Record, **wanted: Any) -> int:
    """The place of the first event whose run, or whose status afterwards, is the one wanted."""
    for place, event in enumerate(record.events):
        after = event.change[1] if event.change else None
        if wanted.items() <= {"run_id": event.run_id, "after": after, "step": event.step}.items():
            return place
    raise AssertionError(wanted)


def running(record: Record) -> Run:
    return next(run for run in record.runs if run.status == "running")


def ended(record: Record, status: str) -> Run:
    """One that had started."""
    return next(run for run in record.runs if run.status == status and run.epoch)


def second_running(record: Record) -> Record:
    """The waiting run starts while the other runs."""
    waits = next(run for run in record.runs if run.status == "pending" and not run.epoch)
    return inserted(record, len(record.events), Event(0, waits.run_id, 0, change=("pending", "running", None, None)))


def event_after_the_end(record: Record) -> Record:
    run_id = ended(record, "success").run_id
    return inserted(record, len(record.events), Event(0, run_id, 0, change=("success", "pending", None, None)))


def another_end_in_the_row(record: Record) -> Record:
    return with_run(record, ended(record, "success").run_id, status="error")


def another_reason_in_the_row(record: Record) -> Record:
    return with_run(record, ended(record, "timeout").run_id, reason="CANCELLED")


def passed_over(record: Record) -> Record:
    """The delayed run was due before the one that started."""
    return with_run(record, run_of(record, 9).run_id, due_time=0)


def started_too_early(record: Record) -> Record:
    run = run_of(record, 9)
    return with_run(record, run.run_id, due_time=(run.start_time or 0) + 1)


def passed_over_after_a_loss(record: Record) -> Record:
    """A later run starts while an earlier one that was handed back waits."""
    lost = run_of(record, 2)
    again = [
        place
        for place, event in enumerate(record.events)
        if event.run_id == lost.run_id and event.change and event.change[1] == "running"
    ][-1]
    other = where(record, run_id=run_of(record, 3).run_id, after="pending")
    start = where(record, run_id=run_of(record, 3).run_id, after="running")
    events = list(record.events)
    admit_and_start = [events[other], events[start]]
    rest = [event for event in events[again:] if event not in admit_and_start]
    return with_events(record, [*events[:again], *admit_and_start, *rest])


def late_step(record: Record) -> Record:
    run_id = ended(record, "interrupted").run_id
    planted = inserted(record, len(record.events), Event(0, run_id, 0, step=record.last_step + 1))
    return with_step(planted, Step(record.last_step + 1, run_id, "{}"))


def late_output(record: Record) -> Record:
    return inserted(record, len(record.events), Event(0, ended(record, "timeout").run_id, 0))


def step_by_hand_while_busy(record: Record) -> Record:
    planted = inserted(record, len(record.events), Event(0, None, 0, step=record.last_step + 1))
    return with_step(planted, Step(record.last_step + 1, None, "{}"))


def with_step(record: Record, step: Step) -> Record:
    last = record.last_step + 1
    return replace(record, steps=(*record.steps, step), last_step=last, state_step=last)


def skipped_epoch(record: Record) -> Record:
    return with_run(record, ended(record, "error").run_id, epoch=9)


def too_many_attempts(record: Record) -> Record:
    return with_run(record, ended(record, "error").run_id, max_attempts=1)


def lost_step(record: Record) -> Record:
    """The interrupted run's last, which nobody would miss by the numbers."""
    run = ended(record, "interrupted")
    steps = [step for step in record.steps if step.step != run.last_step]
    steps = [replace(step, step=number) for number, step in enumerate(steps, 1)]
    return replace(record, steps=tuple(steps), last_step=len(steps), state_step=len(steps))


def step_of_a_rolled_back_run(record: Record) -> Record:
    return with_step(record, Step(record.last_step + 1, record.graves[0].run_id, "{}"))


def run_of_a_tombstone(record: Record) -> Record:
    return replace(record, runs=(*record.runs, replace(record.runs[0], run_id=record.graves[0].run_id)))


def missing_tombstone(record: Record) -> Record:
    return replace(record, graves=record.graves[1:])


def input_that_is_not_first(record: Record) -> Record:
    return with_run(record, ended(record, "success").run_id, input='{"other":1}')


def step_on_top(record: Record) -> Record:
    return replace(record, runs=tuple(replace(r, last_step=r.last_step - (r.status == "running")) for r in record.runs))


def other_state(record: Record) -> Record:
    return replace(record, state={**record.state, "planted": True})


def state_of_an_older_step(record: Record) -> Record:
    return replace(record, state_step=record.state_step - 1)


def circle(record: Record) -> Record:
    """The run that superseded another is superseded by it."""
    place = next(n for n, event in enumerate(record.events) if event.change and event.change[2])
    event = record.events[place]
    assert event.change is not None
    heir = event.change[2]
    end = next(n for n, e in enumerate(record.events) if e.run_id == heir and e.change and e.change[1] == "deleted")
    return with_event(record, end, change={2: event.run_id})


def heirless(record: Record) -> Record:
    place = next(n for n, event in enumerate(record.events) if event.change and event.change[2])
    return with_event(record, place, change={2: None})


def superseded_by_another_than_told(record: Record) -> Record:
    return replace(record, graves=(replace(record.graves[0], superseded_by="other"), *record.graves[1:]))


def superseded_later_than_admitted(record: Record) -> Record:
    """Another event in between: two commits."""
    place = next(n for n, event in enumerate(record.events) if event.change and event.change[2])
    return inserted(record, place, Event(0, record.events[place].run_id, 0))


def superseded_before_admitted(record: Record) -> Record:
    place = next(n for n, event in enumerate(record.events) if event.change and event.change[2])
    return moved(record, place, place - 1)


def gap(record: Record) -> Record:
    return replace(record, events=tuple(event for event in record.events if event.sequence != 5))


def lost_end(record: Record) -> Record:
    return replace(record, events=record.events[:-1])


def doubled(record: Record) -> Record:
    return replace(record, events=(*record.events[:5], *record.events[4:]))


def backwards(record: Record) -> Record:
    return with_event(record, 3, time=record.events[-1].time + 1)


def untold_run(record: Record) -> Record:
    return replace(record, runs=(*record.runs, replace(record.runs[0], run_id="untold")))


def wrong_status(record: Record) -> Record:
    return replace(record, status="idle")


PLANTS: Final[list[tuple[str, Callable[[Record], Record], str]]] = [
    # the invariant, what was planted, and a word of what is said
    ("1", second_running, "starts while"),
    ("1", lambda record: replace(record, draining="somebody"), "awaited"),
    ("3", event_after_the_end, "after it was success"),
    ("3", another_end_in_the_row, "as told"),
    ("3", another_reason_in_the_row, "its end"),
    ("4", passed_over, "whose turn"),
    ("4", passed_over_after_a_loss, "whose turn"),
    ("4", started_too_early, "before it is due"),
    ("4", lambda record: with_run(record, record.runs[0].run_id, sequence=77), "sequence 77"),
    ("5", late_step, "writes while interrupted"),
    ("5", late_output, "writes while timeout"),
    ("5", step_by_hand_while_busy, "by hand"),
    ("5", skipped_epoch, "epoch 9"),
    ("5", too_many_attempts, "attempt"),
    ("6", lost_step, "told were"),
    ("6", step_of_a_rolled_back_run, "told were"),
    ("6", run_of_a_tombstone, "tombstones"),
    ("6", missing_tombstone, "tombstones"),
    ("6", input_that_is_not_first, "not its input"),
    ("6", step_on_top, "on top"),
    ("6", other_state, "not the fold"),
    ("6", state_of_an_older_step, "not the fold"),
    ("7", circle, "circle"),
    ("7", heirless, "for the reason"),
    ("7", superseded_by_another_than_told, "not as told"),
    ("7", superseded_later_than_admitted, "not superseded in one"),
    ("7", superseded_before_admitted, "not superseded in one"),
    ("8", gap, "comes after 4"),
    ("8", lost_end, "last event"),
    ("8", doubled, "comes after"),
    ("8", backwards, "earlier"),
    ("8", untold_run, "not told of"),
    ("10", wrong_status, "the thread is idle"),
]
