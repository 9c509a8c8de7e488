"""When the runs of a thread were queued, ran and ended, read from its events: what `thread timeline` draws.

Times are seconds since the epoch.
"""

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from doubletext import types
from doubletext.cli.render.events import FINAL, events_of
from doubletext.client import Client

Phase: TypeAlias = Literal["queued", "running", "draining"]

# The stream of a thread's events has no end. What the answers before it spoke of is waited for; of what they could not
# speak of (the end of a run that is gone), what has not come after so many seconds of silence is not there.
SILENCE: Final = 1.0


@dataclass
class Span:
    phase: Phase
    start: float
    end: float | None = None  # None: it goes on


@dataclass
class Row:
    """One run. `strategy` is empty for a run that was deleted."""

    run_id: str
    strategy: str = ""
    due: float = 0
    error: str = ""
    spans: list[Span] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    status: str = ""
    since: float = 0  # when it came to its status
    superseded_by: str = ""
    reason: str = ""
    stopped: bool = False  # it was running when it was ended from outside
    attempts: int = 0


@dataclass
class Timeline:
    """The rows in the order of admission. `by_hand` has the steps of UpdateState."""

    thread_id: str
    rows: dict[str, Row] = field(default_factory=dict)
    by_hand: list[float] = field(default_factory=list)
    start: float = 0
    last: float = 0
    last_step: int = 0

    def on_event(self, event: types.Event) -> None:
        self.last = seconds(event["time"])
        self.start = self.start or self.last
        if not event["run_id"]:
            self.by_hand.append(self.last)
        else:
            row = self.rows.setdefault(event["run_id"], Row(event["run_id"]))
            if "run_changed" in event:
                _move(row, event["run_changed"], self.last)
            elif "step_committed" in event:
                row.steps.append(self.last)
        if "step_committed" in event:
            self.last_step = event["step_committed"]["step"]

    def knows(self, run: types.Run) -> bool:
        """Return whether the events show all that the run has done."""
        row = self.rows.get(run["run_id"])
        if row is None:
            return False
        return row.status in FINAL or row.attempts > run["attempt"] or row.status == run["status"]

    def add_drains(self) -> None:
        """Where a run was stopped at work and another waited: from the stop to the start of the next.

        No event says when a stopped run's code ended. Its successor starts when it has, or when the grace is over.
        """
        starts = sorted(
            ((span.start, row) for row in self.rows.values() for span in row.spans if span.phase == "running"),
            key=lambda each: each[0],
        )
        for row in self.rows.values():
            place = bisect_left(starts, row.since, key=lambda each: each[0])
            if row.stopped and place < len(starts):
                start, successor = starts[place]
                if successor.spans[0].start <= row.since and successor.due <= row.since:
                    row.spans.append(Span("draining", row.since, start))


def _move(row: Row, changed: types.RunChanged, now: float) -> None:
    if row.spans and row.spans[-1].end is None:
        row.spans[-1].end = now
    row.status, row.since = changed["to"], now
    row.superseded_by, row.reason = changed["superseded_by"], changed["reason"]
    if changed["to"] == "pending":
        row.spans.append(Span("queued", now))
    elif changed["to"] == "running":
        row.attempts += 1
        row.spans.append(Span("running", now))
    else:
        row.stopped = changed["from"] == "running" and changed["to"] in ("interrupted", "deleted", "timeout")


async def read(client: Client, thread_id: str) -> Timeline:
    """Read the thread's runs and events, up to now. Raises ThreadNotFound."""
    thread = await client.threads.get(thread_id)
    runs = [run async for run in client.runs.list(thread_id, oldest_first=True)]
    newest = (await client.threads.get_state(thread_id))["step"]
    changed = seconds(thread["update_time"])
    timeline = Timeline(thread_id)

    def complete() -> bool:
        caught_up = timeline.last >= changed or changed == seconds(thread["create_time"])
        return caught_up and timeline.last_step >= newest and all(timeline.knows(run) for run in runs)

    events = events_of(client, thread_id, None)
    try:
        while not complete():
            async with asyncio.timeout(SILENCE):
                timeline.on_event(await anext(events))
    except TimeoutError:
        pass
    for run in runs:
        if (row := timeline.rows.get(run["run_id"])) is not None:
            row.strategy, row.due = run["multitask_strategy"], seconds(run["due_time"])
            row.error = run["error"]["type"] if run["error"] else ""
    timeline.add_drains()
    return timeline


def seconds(time: str | None) -> float:
    """Return RFC 3339 text as seconds since the epoch, and 0 for None."""
    return datetime.fromisoformat(time).timestamp() if time else 0.0
