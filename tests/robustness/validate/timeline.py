"""All that was of one thread id, as a line of places: no thread, each version of its first life, no thread, and so on.

Every call happened at a place; places are numbered, and time goes along the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.robustness.history.history import Call, History, Json, Life, runs_in
from tests.robustness.validate.model import Known, Node, Thread, Version, micros, play

UNSEEN_SECONDS: Final = 5.0
"""How long before its end a watcher's stream may have lagged behind: what happened then may be unknown."""


@dataclass(slots=True)
class Place:
    """`version` None: no thread is there; or, `unseen`, what the watcher did not see of the end of a life."""

    number: int
    life: int
    version: Version | None = None
    unseen: bool = False

    @property
    def empty(self) -> bool:
        return self.version is None and not self.unseen


class Line:
    """`first`, `last`: the places at which a life begins and ends, by its number. `home`: the life of each run."""

    def __init__(self, history: History, thread: str, known: Mapping[str, Known]) -> None:
        self.thread = thread
        self.known = known
        self.calls = [call for call in history.calls if call.thread == thread]
        self.lives = [life for life in history.lives if life.thread == thread]
        for life in self.lives:
            _drop_lost_end(life)
        self.played: list[Thread] = [play(life.events, known) for life in self.lives]
        self.places: list[Place] = []
        self.first: list[int] = []
        self.last: list[int] = []
        self.home: dict[str, int] = {}
        self.changes: list[Any] | None = None
        self._after: list[list[int]] = []
        self._add(-1)
        for number, (life, played) in enumerate(zip(self.lives, self.played, strict=True)):
            self._live(number, life, played)
        self.removals: dict[str, list[Call]] = {}
        for call in self.calls:
            if call.name == "delete_run":
                self.removals.setdefault(call.args["run_id"], []).append(call)
        self.by_hand: dict[str, Node] = {
            node.update["by hand"]: node
            for played in self.played
            for node in played.made.values()
            if not node.run_id and node.update
        }

    def _add(self, life: int, version: Version | None = None, *, unseen: bool = False) -> None:
        self.places.append(Place(len(self.places), life, version, unseen))

    def _live(self, number: int, life: Life, played: Thread) -> None:
        self.first.append(len(self.places))
        after: list[int] = []
        end = _deletion(life.events)
        for version in played.versions:
            if version.event < end:
                self._add(number, version)
            after += [len(self.places) - 1] * (version.event + 1 - len(after))
        if life.over and not _told_to_the_end(life, end):
            self._add(number, unseen=True)
        self.last.append(len(self.places) - 1)
        self._after.append(after)
        self.home |= dict.fromkeys(played.runs, number)
        if life.over:
            self._add(number)

    def after(self, life: int, event: int) -> int:
        """The first place at which an event has happened."""
        return self._after[life][event]

    def tag(self, run_id: str) -> str | None:
        return self.known[run_id].tag if run_id in self.known else None

    def thread_at(self, place: Place) -> Thread:
        return self.played[place.life]

    def is_life_of(self, life: int, create_time: str | None) -> bool:
        """Whether a thread created then may be this life: after the one before it, and before all of its own events."""
        created, mine, before = micros(create_time), self.lives[life].events, self.lives[:life]
        earlier = [other.events[-1] for other in before if other.events]
        return not (mine and created > micros(mine[0]["time"])) and not (
            earlier and created < micros(earlier[-1]["time"])
        )

    def unseen_fits(self, place: Place, call: Call) -> bool:
        """Whether an answer may be of the end of a life that nobody saw: it is of then, and of nothing else."""
        ended = self.lives[place.life].stream_ended
        if call.reason == "THREAD_NOT_FOUND" or (
            call.outcome == "ok" and call.name in ("create_thread", "delete_thread")
        ):
            return False
        if any(self.home.get(run["run_id"], place.life) != place.life for run in runs_in(call.answer)):
            return False
        if call.outcome == "ok" and call.name in ("get_thread", "update_thread"):
            return self.is_life_of(place.life, call.answer["create_time"])
        return ended is None or call.ended >= ended - UNSEEN_SECONDS


def _deletion(events: list[Json]) -> int:
    """The number of the first event of the thread's deletion; one past the last event if none tells of it."""
    for event in events:
        if event.get("run_changed", {}).get("reason") == "THREAD_DELETED":
            return int(event["sequence"])
    return len(events) + 1


def _drop_lost_end(life: Life) -> None:
    """A watcher that lags when its thread is deleted is told of the deletion, but not of what it had not read yet."""
    for at, event in enumerate(life.events):
        if event.get("run_changed", {}).get("reason") == "THREAD_DELETED" and life.over:
            if event["sequence"] != at + 1:
                del life.events[at:], life.seen[at:]
            return


def _told_to_the_end(life: Life, end: int) -> bool:
    """Whether the events run on without a gap into those of the deletion."""
    return end <= len(life.events) and [event["sequence"] for event in life.events] == [*range(1, len(life.events) + 1)]
