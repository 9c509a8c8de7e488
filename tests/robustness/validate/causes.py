"""Every change that a caller can make was made by a call, once, while that call was under way.

What a call did is known by its tag: runs carry it, steps by hand hold it. A call whose outcome is not known happened if
such a change is there, and never if it is not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.robustness.history.history import Call, History
from tests.robustness.validate.model import STOPS
from tests.robustness.validate.timeline import Line


@dataclass(slots=True, frozen=True)
class Change:
    """`before`: the last place at which it had not happened; `after`: the first at which it had."""

    what: str
    name: str
    key: str
    life: int
    before: int
    after: int


def causes(line: Line, history: History, begun: Mapping[int, int]) -> Iterator[str]:
    """The changes that no call can have made. `begun`: how far the thread had come when each call began."""
    seen: dict[tuple[str, str, int], Change] = {}
    for change in _changes(line):
        if change.name != "cancel" and (key := (change.name, change.key, change.life)) in seen:
            yield f"{change.what} came of the same call as {seen[key].what}"
        seen[change.name, change.key, change.life] = change
        makers = [call for call in line.calls if _may_make(call, change, history)]
        if not any(begun[call.number] <= change.before for call in makers):
            since = [begun[call.number] for call in makers]
            yield f"{change.what} at place {change.after} was asked for by nobody by then; asked since places {since}"


def latest(line: Line, call: Call) -> Iterator[int]:
    """The places at which a call with an unknown outcome had happened, if nobody else can have made the change."""
    for change in _changes(line):
        if change.name == call.name and change.key == _key(call):
            others = [other for other in line.calls if other.name == call.name and _key(other) == change.key]
            if others == [call]:
                yield change.after


def _changes(line: Line) -> list[Change]:
    if line.changes is None:
        line.changes = [change for life in range(len(line.lives)) for change in _of_life(line, life)]
    return line.changes


def _of_life(line: Line, life: int) -> Iterable[Change]:
    played = line.played[life]
    for event in line.lives[life].events:
        run_id, number = event["run_id"], event["sequence"]
        changed = event.get("run_changed", {})
        name = key = None
        if changed and changed["from"] is None:
            name, key = "create_run", line.tag(run_id)
        elif changed and changed["reason"] == "CANCELLED":
            name, key = "cancel", f"{run_id} {changed['to']}"
        elif not run_id and number in played.made and played.made[number].update is not None:
            name, key = "update_state", (played.made[number].update or {}).get("by hand")
        if name and key:
            after = line.after(life, number)
            yield Change(f"event {number} of life {life} ({name} {key})", name, key, life, after - 1, after)


def _key(call: Call) -> str:
    if call.name == "cancel":
        return f"{call.args['run_id']} {STOPS[call.args['action']]}"
    return str(call.args.get("tag"))


def _may_make(call: Call, change: Change, history: History) -> bool:
    if call.name != change.name or _key(call) != change.key:
        return False
    if call.outcome != "refused":
        return True
    # It was made, and then its thread or its run deleted, before it was answered; or it was made anew after a crash.
    return call.reason.endswith("_NOT_FOUND") or any(call.began <= at <= call.ended for at in history.kills)


def lives(line: Line, begun: Mapping[int, int], put: Mapping[int, int]) -> Iterator[str]:
    """Threads don't come and go of themselves: what is wrong with how lives began and ended."""
    unknown = [call for call in line.calls if call.outcome == "unknown"]
    creators = [call for call in unknown if call.name == "create_thread"]
    deleters = [call for call in unknown if call.name == "delete_thread"]
    done = [call for call in line.calls if call.outcome == "ok" and call.number in put]
    made = {put[call.number] for call in done if call.name == "create_thread"}
    gone = {put[call.number] for call in done if call.name == "delete_thread"}
    for life, seen in enumerate(line.lives):
        first, last = line.first[life], line.last[life]
        if first not in made and not _made_with_a_run(line, life) and not _taken(creators, begun, first - 1):
            yield f"life {life} was begun by nobody"
        if seen.over and last + 1 not in gone and not _taken(deleters, begun, last):
            yield f"life {life} was ended by nobody"


def _made_with_a_run(line: Line, life: int) -> bool:
    events = line.lives[life].events
    tag = line.tag(events[0]["run_id"]) if events else None
    makers = [call for call in line.calls if call.name == "create_run" and call.args.get("creates")]
    return any(tag in (None, call.args["tag"]) for call in makers)


def _taken(calls: list[Call], begun: Mapping[int, int], place: int) -> bool:
    """Whether one of the calls was under way by then; it explains nothing else after that."""
    for call in calls:
        if begun[call.number] <= place:
            calls.remove(call)
            return True
    return False
