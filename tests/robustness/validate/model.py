"""A thread as the contract has it, moved by its events one after the other. It shares no rule with the server.

What executors do is known from the events alone; what callers did is known from their calls too (`Known`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.robustness.history.history import Json
from tests.robustness.validate.rules import IN_FLIGHT, MOVES, TERMINAL, join

STOPS: Final = {"interrupt": "interrupted", "rollback": "deleted"}
REASONS: Final = {
    # to: reasons that a run may have then
    "running": ("",),
    "success": ("",),
    "error": ("", "MAX_ATTEMPTS"),
    "timeout": ("TIMEOUT",),
    "interrupted": ("SUPERSEDED", "CANCELLED"),
    "deleted": ("SUPERSEDED", "CANCELLED", "THREAD_DELETED"),
}


@dataclass(slots=True, frozen=True)
class Known:
    """What the answers tell of a run beside its events; None for what no answer told."""

    tag: str | None = None
    sequence: int | None = None
    strategy: str | None = None
    due_time: str | None = None
    timeout: float | None = None
    max_attempts: int | None = None
    steps: int | None = None
    delayed: bool = False


class Node:
    """A step on top of another. `update` None: it was rolled back before anybody saw it."""

    __slots__ = ("_values", "parent", "run_id", "step", "time", "update")

    def __init__(self, parent: "Node | None", step: int, run_id: str, update: Json | None, time: str | None) -> None:
        self.parent = parent
        self.step = step
        self.run_id = run_id
        self.update = update
        self.time = time
        self._values: Json | None = None

    def at(self, step: int) -> "Node":
        node = self
        while node.step > step:
            assert node.parent is not None
            node = node.parent
        return node

    def values(self) -> Json | None:
        """The fold of the steps up to this one; None when one of them is not known."""
        path: list[Json] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            if node._values is not None:
                break
            if node.update is None:
                return None
            path.append(node.update)
            node = node.parent
        values: Json = dict(node._values or {}) if node is not None else {}
        for update in reversed(path):
            join(values, update, {"messages": "messages"})
        self._values = values
        return values


@dataclass(slots=True, frozen=True)
class Run:
    """A run at some moment. `left`: the step that was the newest when it ended, or that it made last."""

    run_id: str
    number: int
    status: str
    create_time: str | None
    attempt: int = 0
    claims: int = 0
    last_step: int = 0
    superseded_by: str = ""
    reason: str = ""
    start_time: str | None = None
    end_time: str | None = None
    base: Node | None = None
    left: Node | None = None


@dataclass(slots=True)
class Version:
    """A thread after one of its commits. `event`: the last one of it; `ended`: runs in the order of their ends."""

    event: int
    top: Node
    in_flight: tuple[str, ...] = ()
    running: str | None = None
    ended: int = 0


@dataclass
class Thread:
    """versions  what a reader may have seen, from the creation on
    runs      each with what it was, and since which event
    ended     runs in the order in which they ended
    made      the steps, by their events
    """

    known: Mapping[str, Known] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    runs: dict[str, list[tuple[int, Run]]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    made: dict[int, Node] = field(default_factory=dict)

    def run_at(self, run_id: str, event: int) -> Run | None:
        """The run as it was after an event; None before it was admitted."""
        found = None
        for since, run in self.runs.get(run_id, ()):
            if since > event:
                break
            found = run
        return found

    def last(self, run_id: str) -> Run:
        return self.runs[run_id][-1][1]


def play(events: Iterable[Json], known: Mapping[str, Known]) -> Thread:
    return _Play(known, list(events)).thread


class _Play:
    def __init__(self, known: Mapping[str, Known], events: list[Json]) -> None:
        self.known = known
        self.thread = Thread(known)
        self.events = events
        self.top = Node(None, 0, "", {}, None)
        self.now: dict[str, Run] = {}
        self.running: str | None = None
        self._keep(0)
        for place, event in enumerate(events):
            if event["sequence"] != place + 1:
                self.say(event, f"comes after {place}")
            self.see(event)
            if not self.goes_on(place):
                self._keep(event["sequence"])

    def say(self, event: Json, what: str) -> None:
        self.thread.wrong.append(f"event {event['sequence']} of run {event['run_id']}: {what}")

    def _keep(self, sequence: int) -> None:
        in_flight = tuple(run_id for run_id, run in self.now.items() if run.status in IN_FLIGHT)
        self.thread.versions.append(Version(sequence, self.top, in_flight, self.running, len(self.thread.ended)))

    def goes_on(self, place: int) -> bool:
        """Whether the event and the next one are of one commit: a supersession, a start with its input, a deletion."""
        if place + 1 == len(self.events):
            return False
        event, following = self.events[place], self.events[place + 1]
        change, further = event.get("run_changed"), following.get("run_changed")
        if change is None:
            return False
        if change["to"] == "running":
            return self.now[event["run_id"]].claims == 1
        if further is None:
            return False
        if further["superseded_by"]:
            return bool(further["superseded_by"] in (event["run_id"], change["superseded_by"]))
        return bool(change["reason"] == further["reason"] == "THREAD_DELETED")

    def see(self, event: Json) -> None:
        run_id = event["run_id"]
        if "run_changed" in event:
            self.move(event, run_id, **{k: v for k, v in event["run_changed"].items() if k != "from"})
        elif run_id and (run_id not in self.now or self.now[run_id].status != "running"):
            self.say(event, "writes while it is not running")
        elif "step_committed" in event:
            self.step(event, run_id, event["step_committed"])

    def become(self, event: Json, run: Run) -> None:
        self.now[run.run_id] = run
        self.thread.runs.setdefault(run.run_id, []).append((event["sequence"], run))

    # Steps

    def step(self, event: Json, run_id: str, step: Json) -> None:
        if not run_id and any(run.status in IN_FLIGHT for run in self.now.values()):
            self.say(event, "a step by hand while a run is in flight")
        if step["step"] != self.top.step + 1:
            self.say(event, f"step {step['step']} on top of {self.top.step}")
        node = Node(self.top, step["step"], run_id, step["update"], event["time"])
        self.thread.made[event["sequence"]] = self.top = node
        if run_id:
            run = self.now[run_id]
            self._content(event, run, node)
            self.become(event, replace(run, last_step=node.step, left=node))

    def _content(self, event: Json, run: Run, node: Node) -> None:
        """A run's first step is its input; the others say its id and their numbers, without gap or repetition."""
        if node.update is None:
            return
        text = said(node.update)
        if run.last_step == 0:
            tag = self.known.get(run.run_id, Known()).tag
            if tag is not None and text != tag:
                self.say(event, f"its first step is {node.update}, and not its input {tag!r}")
        elif run.base is not None and text != f"{run.run_id} {node.step - run.base.step - 1}":
            self.say(event, f"its step {node.step - run.base.step - 1} says {text!r}")
        if run.last_step and node.update.get("attempt", run.attempt) != run.attempt:
            self.say(event, f"attempt {node.update['attempt']} makes a step while attempt {run.attempt} runs")

    # Moves

    def move(self, event: Json, run_id: str, to: str, superseded_by: str, reason: str, merged_into: str = "") -> None:
        before = event["run_changed"]["from"]
        run = self.now.get(run_id)
        was = run.status if run else None
        if was in TERMINAL:
            self.say(event, f"is {to} after it was {was}")
        if was != before or (before, to) not in MOVES:
            self.say(event, f"goes from {before} to {to} while {was}")
        if run is None:
            self.admit(event, run_id)
            return
        if reason not in REASONS.get(to, ("RELEASED", "LEASE_LOST")):
            self.say(event, f"is {to} for the reason {reason!r}")
        if bool(superseded_by) != (reason == "SUPERSEDED"):
            self.say(event, f"is superseded by {superseded_by!r} for the reason {reason!r}")
        if superseded_by and event["sequence"] not in self.superseding:
            self.say(event, f"is not superseded in one with the admission of {superseded_by}")
        if self.running == run_id:
            self.running = None
        run = replace(run, status=to, superseded_by=superseded_by, reason=reason)
        if to == "running":
            run = self.start(event, run)
        elif to == "pending":
            run = replace(run, attempt=run.attempt - (reason == "RELEASED"))
        else:
            run = self.end(event, run)
        self.become(event, run)

    superseding: range = range(0)

    def admit(self, event: Json, run_id: str) -> None:
        at = event["sequence"]
        block = []
        for following in self.events[at:]:
            if following.get("run_changed", {}).get("superseded_by") != run_id:
                break
            block.append(following)
        self.superseding = range(at + 1, at + 1 + len(block))
        waiting = {each.run_id for each in self.now.values() if each.status in IN_FLIGHT}
        strategy = self.known.get(run_id, Known()).strategy
        if strategy == "reject" and waiting:
            self.say(event, f"is accepted by REJECT while {sorted(waiting)} are in flight")
        stops = STOPS.get(strategy or "")
        if stops or block:
            if {each["run_id"] for each in block} != waiting:
                self.say(event, f"supersedes {[each['run_id'] for each in block]} of {sorted(waiting)}")
            if strategy is not None and any(each["run_changed"]["to"] != stops for each in block):
                self.say(event, f"supersedes otherwise than by {strategy}")
            if len({each["run_changed"]["to"] for each in block}) > 1:
                self.say(event, "supersedes its predecessors in different ways")
        number = len(self.thread.runs) + 1
        told = self.known.get(run_id, Known()).sequence
        if told not in (None, number):
            self.say(event, f"is admitted as number {number}, and has sequence {told}")
        self.become(event, Run(run_id, number, "pending", event["time"]))

    def start(self, event: Json, run: Run) -> Run:
        if self.running:
            self.say(event, f"starts while {self.running} is running")
        self.running = run.run_id
        for other in self.now.values():
            if other.status == "pending" and other.run_id != run.run_id and self._goes_before(other, run, event):
                self.say(event, f"starts before {other.run_id}, whose turn it is")
        due = self.known.get(run.run_id, Known()).due_time
        if due is not None and micros(event["time"]) < micros(due):
            self.say(event, f"starts before it is due at {due}")
        maximum = self.known.get(run.run_id, Known()).max_attempts
        if maximum is not None and run.attempt >= maximum:
            self.say(event, f"starts an attempt more than the {maximum} that it has")
        base = run.base if run.claims else self.top
        return replace(run, attempt=run.attempt + 1, claims=run.claims + 1, start_time=event["time"], base=base)

    def _goes_before(self, other: Run, run: Run, event: Json) -> bool:
        if other.claims or run.claims:
            return other.claims > 0
        due = self.known.get(other.run_id, Known()).due_time
        return due is not None and micros(due) <= micros(event["time"]) and other.number < run.number

    def end(self, event: Json, run: Run) -> Run:
        to, left = run.status, run.left or self.top
        if to == "deleted":
            if run.claims and run.last_step and self.top.run_id != run.run_id:
                self.say(event, "is rolled back under the steps of others")
            if run.base is not None:
                self.top = left = run.base
            run = replace(run, last_step=0)
        self.thread.ended.append(run.run_id)
        self._outcome(event, run)
        return replace(run, end_time=event["time"], left=left)

    def _outcome(self, event: Json, run: Run) -> None:
        known = self.known.get(run.run_id, Known())
        made = run.last_step - run.base.step - 1 if run.base else 0
        if run.status == "success" and known.steps is not None and made != known.steps:
            self.say(event, f"is success after {made} of {known.steps} steps")
        if run.reason == "MAX_ATTEMPTS" and known.max_attempts not in (None, run.attempt):
            self.say(event, f"ends after {run.attempt} of {known.max_attempts} attempts")
        if run.reason == "TIMEOUT" and known.timeout is not None and run.claims:
            took = (micros(event["time"]) - micros(run.start_time)) / 1_000_000
            if took < known.timeout:
                self.say(event, f"is stopped after {took} of its {known.timeout} seconds")


def said(update: Json) -> Any:
    messages = update.get("messages") or [{}]
    return messages[0].get("content")


def micros(time: str | None) -> int:
    """RFC 3339 text in UTC as a number that grows with time; within a month, by one each microsecond."""
    assert time is not None
    date, clock = time.rstrip("Z").split("T")
    hours, minutes, seconds = clock.split(":")
    whole, _, part = seconds.partition(".")
    days = int(date[8:10]) + 31 * (int(date[5:7]) + 12 * int(date[:4]))
    whole_seconds = ((days * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(whole)
    return whole_seconds * 1_000_000 + int(part.ljust(6, "0")[:6])
