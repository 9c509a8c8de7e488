"""Judges a thread by what is on disk: its events are played from the first to the last, and held against the
invariants of the architecture and against its runs, tombstones, steps and state.

It shares no rule with the server: what follows from what is written here once more, by other means.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from tests.support.record import Event, Grave, Record, Run, Step

IN_FLIGHT: Final = ("pending", "running")
TERMINAL: Final = ("interrupted", "success", "error", "timeout", "deleted")
# fmt: off
MOVES: Final = {
    (None, "pending"),
    ("pending", "running"), ("pending", "interrupted"), ("pending", "deleted"),
    ("running", "pending"), ("running", "interrupted"), ("running", "deleted"),
    ("running", "success"), ("running", "error"), ("running", "timeout"),
}
# fmt: on
THREAD_STATUS: Final = {
    None: "idle",
    "success": "idle",
    "interrupted": "interrupted",
    "error": "error",
    "timeout": "error",
}


def judge(record: Record, accepted: Collection[str] = (), removed: Collection[str] = ()) -> list[str]:
    """What is wrong with the thread, each with the number of its invariant.

    accepted  runs whose CreateRun was answered
    removed   runs whose records somebody may have deleted
    """
    play = _Play(record, removed)
    for event in record.events:
        play.see(event)
    play.end()
    known = {run.run_id for run in record.runs} | {grave.run_id for grave in record.graves}
    lost = [f"2: run {run_id} was accepted and is gone" for run_id in accepted if run_id not in known]
    return [*play.wrong, *_superseding(record, removed), *_state(record), *_status(record), *lost]


def judge_growth(earlier: Record, later: Record) -> list[str]:
    """What is wrong between two readings of a thread: what was told once stays told, and what was final final."""
    wrong = []
    if later.events[: len(earlier.events)] != earlier.events:
        wrong.append("8: events that were told are others now")
    runs = {run.run_id: run for run in later.runs}
    wrong += [
        f"3: run {run.run_id} was {run.status} and is {runs.get(run.run_id)}"
        for run in earlier.runs
        if run.status in TERMINAL and _final(runs.get(run.run_id)) != _final(run)
    ]
    if not set(earlier.graves) <= set(later.graves):
        wrong.append("3: a tombstone has changed")
    return wrong


def _final(run: Run | None) -> object:
    """What of a final run can't change. A state that it left without a step of its own may be rolled back under it."""
    return run and (run.status, run.reason, run.superseded_by, run.end_time, run.attempt, run.epoch, run.last_step)


class _Play:
    """The thread as the events tell it. `stack`: its steps, (step, run), of which rolling back takes the last ones."""

    def __init__(self, record: Record, removed: Collection[str]) -> None:
        self.record = record
        self.removed = {run_id for run_id in removed if all(run.run_id != run_id for run in record.runs)}
        self.runs = {run.run_id: run for run in record.runs}
        self.status: dict[str, str] = {}
        self.claims: dict[str, int] = {}
        self.stack: list[tuple[int, str | None]] = []
        self.ends: dict[str, Event] = {}
        self.admitted: list[str] = []
        self.last: Event | None = None
        self.wrong: list[str] = []

    def say(self, invariant: int, event: Event, what: str) -> None:
        self.wrong.append(f"{invariant}: event {event.sequence}, run {event.run_id}: {what}")

    def see(self, event: Event) -> None:
        if event.sequence != (self.last.sequence if self.last else 0) + 1:
            self.say(8, event, f"comes after {self.last and self.last.sequence}")
        if self.last is not None and event.time < self.last.time:
            self.say(8, event, "is earlier than the one before it")
        self.last = event
        if event.change is not None:
            self.move(event, *event.change)
        elif event.run_id is not None and self.status.get(event.run_id) != "running":
            self.say(5, event, f"writes while {self.status.get(event.run_id)}")
        elif event.run_id is None and any(status in IN_FLIGHT for status in self.status.values()):
            self.say(5, event, "a step by hand while a run is in flight")
        if event.step is not None:
            if event.step != len(self.stack) + 1:
                self.say(6, event, f"step {event.step} on top of {len(self.stack)}")
            self.stack.append((event.step, event.run_id))

    def move(self, event: Event, before: str | None, after: str, superseded_by: str | None, reason: str | None) -> None:
        run_id = event.run_id or ""
        was = self.status.get(run_id)
        if was in TERMINAL:
            self.say(3, event, f"is {after} after it was {was}")
        elif was != before or (before, after) not in MOVES:
            self.say(3, event, f"goes from {before} to {after} while {was}")
        if before is None:
            self.admitted.append(run_id)
        if after == "running":
            self.start(event, run_id)
        if after == "deleted":
            left = [step for step in self.stack if step[1] != run_id]
            if self.stack[: len(left)] != left:
                self.say(6, event, "is rolled back under the steps of others")
            self.stack = left
        if after in TERMINAL:
            self.ends[run_id] = event
        self.status[run_id] = after

    def start(self, event: Event, run_id: str) -> None:
        if running := [other for other, status in self.status.items() if status == "running"]:
            self.say(1, event, f"starts while {running} runs")
        self.claims[run_id] = self.claims.get(run_id, 0) + 1
        started = self.claims[run_id] > 1
        for other, status in self.status.items():
            run = self.runs.get(other)  # of a run that was rolled back since, nobody knows any more when it was due
            if status != "pending" or other == run_id or run is None:
                continue
            first = self.admitted.index(other) < self.admitted.index(run_id)
            if other in self.claims or (first and run.due_time <= event.time and not started):
                self.say(4, event, f"starts before {other}, whose turn it is")
        if (mine := self.runs.get(run_id)) is not None and event.time < mine.due_time:
            self.say(4, event, "starts before it is due")

    def end(self) -> None:
        """Hold what was told against what is there."""
        record = self.record
        if (self.last.sequence if self.last else 0) != record.last_event:
            self.wrong.append(f"8: the last event is not {record.last_event}")
        steps = [(step.step, step.run_id) for step in record.steps]
        if steps != self.stack or record.last_step != len(steps):
            self.wrong.append(f"6: the steps are {steps}, {record.last_step} in all; told were {self.stack}")
        numbers = {run_id: number for number, run_id in enumerate(self.admitted, 1)}
        if record.last_sequence != len(numbers):
            self.wrong.append(f"8: {len(numbers)} runs were told of, and {record.last_sequence} admitted")
        buried = {run_id for run_id, status in self.status.items() if status == "deleted"}
        if buried != {grave.run_id for grave in record.graves} or buried & set(self.runs):
            self.wrong.append("6: the tombstones are not those of the runs that were rolled back")
        gone = {run_id for run_id in self.removed if self.status.get(run_id) in TERMINAL}
        if set(self.status) - buried - gone != set(self.runs):
            self.wrong.append("8: there are runs that were not told of, or that are gone")
        if record.draining and "running" in self.status.values():
            self.wrong.append("1: a run is running while a stopped attempt is awaited")
        for run in record.runs:
            self.wrong += [f"{what}, run {run.run_id}" for what in self.run(run, numbers.get(run.run_id))]

    def run(self, run: Run, number: int | None) -> Iterable[str]:
        if run.status != self.status.get(run.run_id):
            yield f"3: is {run.status}, and {self.status.get(run.run_id)} as told"
        if run.sequence != number:
            yield f"4: sequence {run.sequence}, admitted as number {number}"
        end = self.ends.get(run.run_id)
        told = end and end.change and (end.time, *end.change[2:])
        if told != ((run.end_time, run.superseded_by, run.reason) if run.status in TERMINAL else None):
            yield f"3: its end is not as told: {told}"
        claims = self.claims.get(run.run_id, 0)
        if run.epoch != claims or not 0 <= run.attempt <= min(claims, run.max_attempts):
            yield f"5: epoch {run.epoch} and attempt {run.attempt} after {claims} claims"
        own = [step for step in self.record.steps if step.run_id == run.run_id]
        numbers = [step.step for step in own]
        if claims and numbers != list(range((run.base_step or 0) + 1, run.last_step + 1)):
            yield f"6: its steps are {numbers}, not those after {run.base_step} up to {run.last_step}"
        if bool(claims) != bool(own) or (own and own[0].update != run.input):
            yield "6: its first step is not its input"
        if run.status in IN_FLIGHT and own and run.last_step != self.record.last_step:
            yield "6: there are steps on top of its own while it is in flight"


def _superseding(record: Record, removed: Collection[str]) -> Iterable[str]:
    """Each run that was superseded was so in the admission of a later run, and the chains end."""
    events = record.events
    heirs: dict[str | None, str] = {}
    place = {event.run_id: index for index, event in enumerate(events) if event.change and event.change[0] is None}
    for index, event in enumerate(events):
        if event.change is None or event.change[1] not in TERMINAL:
            continue
        heir, reason = event.change[2:]
        if (heir is not None) != (reason == "SUPERSEDED"):
            yield f"7: event {event.sequence}: superseded by {heir}, for the reason {reason}"
        if heir is None:
            continue
        heirs[event.run_id] = heir
        since = place.get(heir, len(events))
        block = events[since + 1 : index + 1]
        if not since < index or any(e.change is None or e.change[2] != heir or e.time != event.time for e in block):
            yield f"7: event {event.sequence}: {event.run_id} was not superseded in one with the admission of {heir}"
    for run_id in heirs:
        seen, heir = {run_id}, heirs[run_id]
        while heir in heirs and heir not in seen:
            seen.add(heir)
            heir = heirs[heir]
        if heir in seen:
            yield f"7: {run_id} is superseded in a circle"
    left: list[Run | Grave] = [*record.runs, *record.graves]
    named = {each.run_id: each.superseded_by for each in left if each.superseded_by}
    if named != {run_id: heir for run_id, heir in heirs.items() if run_id in named or run_id not in removed}:
        yield "7: superseded_by is not as told"


def _state(record: Record) -> Iterable[str]:
    values: dict[str, Any] = {}
    for step in record.steps:
        _apply(values, step)
    if (record.state_step, record.state) != (record.last_step, values):
        yield f"6: the state of step {record.state_step} is not the fold of {record.last_step} steps"


def _apply(values: dict[str, Any], step: Step) -> None:
    joined(values, json.loads(step.update), {"messages": "messages"} if step.reducers is None else step.reducers)


def joined(values: dict[str, Any], update: Mapping[str, Any], reducers: Mapping[str, str]) -> None:
    """Let a step's update join a state."""
    for key, value in update.items():
        reducer = reducers.get(key, "replace")
        if reducer == "replace":
            values[key] = value
            continue
        old, new = (
            each if isinstance(each, list) else [] if each is None else [each] for each in (values.get(key), value)
        )
        values[key] = merged = list(old)
        for item in new:
            name = item.get("id") if isinstance(item, dict) and reducer == "messages" else None
            there = [at for at, each in enumerate(merged) if isinstance(each, dict) and each.get("id") == name]
            if isinstance(name, str) and there:
                merged[there[-1]] = item
            else:
                merged.append(item)


def _status(record: Record) -> Iterable[str]:
    finished = [run for run in record.runs if run.status in TERMINAL]
    newest = max(finished, key=lambda run: (run.end_time or 0, run.sequence), default=None)
    busy = len(finished) < len(record.runs)
    expected = "busy" if busy else THREAD_STATUS[newest.status if newest else None]
    if record.status != expected:
        yield f"10: the thread is {record.status}, and {expected} by its runs"
