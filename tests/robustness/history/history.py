"""A history: the calls of all clients with their answers, the events that watchers saw, and when the server was killed.

It is kept as JSON lines, each written at its time (seconds on one monotonic clock), so that a history is there up to
the moment at which something went wrong.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Literal["ok", "refused", "unknown"]


@dataclass(slots=True)
class Call:
    """One call of a client. Several calls with the same `args["tag"]` are one that was tried again.

    ended    when it was answered, or given up; infinite for one that was under way at the end
    outcome  "unknown": it may have happened, may happen later, or never
    answer   what was answered; of a refusal {"reason", "metadata"}
    """

    number: int
    client: int
    name: str
    thread: str
    args: Json
    began: float
    ended: float = math.inf
    outcome: Outcome = "unknown"
    answer: Json = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return str(self.answer["reason"]) if self.outcome == "refused" else ""

    def __str__(self) -> str:
        return f"call {self.number} of client {self.client}, {self.name} {self.args}: {self.outcome} {self.answer}"


@dataclass(slots=True)
class Life:
    """What a watcher saw of a thread, from its creation to its deletion. A thread of the same id has another life.

    seen      when each of `events` arrived
    streams   when the last stream ended that was open in this life; None while it is open
    over      the thread was deleted
    """

    thread: str
    number: int
    events: list[Json] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    stream_ended: float | None = None
    over: bool = False
    changed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """`kills`: when the server was dead, each time. `finished`: the recording came to its end, with all at rest."""

    calls: list[Call] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    finished: bool = False

    def last_moment(self, call: Call) -> float:
        """When a call with an unknown outcome can no longer happen: once the server that had it is dead."""
        return next((at for at in self.kills if at >= call.ended), math.inf)

    def threads(self) -> list[str]:
        return sorted({call.thread for call in self.calls} | {life.thread for life in self.lives})


def read(path: Path) -> History:
    with path.open() as lines:
        return history(json.loads(line) for line in lines)


def history(entries: Iterable[Json]) -> History:
    made = History()
    calls: dict[int, Call] = {}
    lives: dict[tuple[str, int], Life] = {}
    for entry in entries:
        match entry["kind"]:
            case "call":
                call = Call(*(entry[key] for key in ("n", "client", "name", "thread", "args", "at")))
                calls[call.number] = call
            case "answer":
                call = calls[entry["n"]]
                call.ended, call.outcome, call.answer = entry["at"], entry["outcome"], entry["answer"]
            case "server killed":
                made.kills.append(entry["at"])
            case "finished":
                made.finished = True
            case kind:
                life = lives.setdefault((entry["thread"], entry["life"]), Life(entry["thread"], entry["life"]))
                _watched(life, kind, entry)
    made.calls = list(calls.values())
    made.lives = sorted(lives.values(), key=lambda life: (life.thread, life.number))
    return made


def _watched(life: Life, kind: str, entry: Json) -> None:
    match kind:
        case "event":
            life.events.append(entry["event"])
            life.seen.append(entry["at"])
            life.stream_ended = None
        case "told otherwise":
            life.changed.append(f"event {entry['event']['sequence']} was told before and is {entry['event']} now")
        case "stream open":
            life.stream_ended = None
        case "stream ended":
            life.stream_ended = entry["at"]
        case "gone":
            life.over = True
            if life.stream_ended is None:
                life.stream_ended = entry["at"]


def entries(history: History) -> Iterator[Json]:
    """The lines that make up a history, in order of their times."""
    lines: list[tuple[float, Json]] = [(at, {"kind": "server killed", "at": at}) for at in history.kills]
    for call in history.calls:
        call_line = {"kind": "call", "n": call.number, "client": call.client, "name": call.name}
        lines.append((call.began, {**call_line, "thread": call.thread, "args": call.args, "at": call.began}))
        if call.ended < math.inf:
            answer = {"kind": "answer", "n": call.number, "outcome": call.outcome, "answer": call.answer}
            lines.append((call.ended, {**answer, "at": call.ended}))
    for life in history.lives:
        of = {"thread": life.thread, "life": life.number}
        for at, event in zip(life.seen, life.events, strict=True):
            lines.append((at, {"kind": "event", **of, "event": event, "at": at}))
        if life.over:
            end = life.stream_ended or 0.0
            lines.append((end, {"kind": "gone", **of, "at": end}))
    yield from (line for _, line in sorted(lines, key=lambda pair: pair[0]))
    if history.finished:
        yield {"kind": "finished"}


def runs_in(answer: Any) -> Iterator[Json]:
    """Every run that stands anywhere in an answer."""
    if isinstance(answer, list):
        for item in answer:
            yield from runs_in(item)
    elif isinstance(answer, dict):
        if "multitask_strategy" in answer:
            yield answer
        for key in ("run", "superseded", "items"):
            if key in answer:
                yield from runs_in(answer[key])
