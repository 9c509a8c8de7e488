"""Whether an answer fits a place: what the contract lets a call say about a thread that is just so."""

from collections.abc import Callable
from typing import Final

from tests.robustness.history.history import Call, Json
from tests.robustness.history.recorder import digest
from tests.robustness.validate.model import Node, Run, Thread, Version
from tests.robustness.validate.rules import IN_FLIGHT, TERMINAL, THREAD_STATUS
from tests.robustness.validate.timeline import Line, Place


def fits(line: Line, place: Place, call: Call, since: Place) -> bool:
    """Whether the call may have been answered so at `place`, having begun when the line had come to `since`."""
    if place.unseen:
        return line.unseen_fits(place, call)
    if call.outcome == "refused":
        rule = REFUSALS.get(call.reason)
        return rule is not None and rule(_At(line, place, since, call), call)
    return ANSWERS[call.name](_At(line, place, since, call), call)


class _At:
    """A place, looked at by a call."""

    def __init__(self, line: Line, place: Place, since: Place, call: Call) -> None:
        self.line = line
        self.place = place
        self.since = since
        self.call = call

    def may_be_removed(self, run_id: str) -> bool:
        """Whether somebody asked to delete the run's record before the call was answered."""
        return any(removal.began < self.call.ended for removal in self.line.removals.get(run_id, ()))

    @property
    def version(self) -> Version:
        assert self.place.version is not None
        return self.place.version

    @property
    def thread(self) -> Thread:
        return self.line.thread_at(self.place)

    def run(self, run_id: str) -> Run | None:
        if self.place.version is None or self.line.home.get(run_id) != self.place.life:
            return None
        return self.thread.run_at(run_id, self.version.event)

    def shows(self, told: Json) -> bool:
        """Whether a run is as told."""
        run = self.run(told["run_id"])
        if run is None or run.status != told["status"]:
            return False
        if (told["superseded_by"], told["reason"]) != (run.superseded_by, run.reason):
            return False
        if run.status == "deleted":  # little is left of it
            return True
        wanted = (run.number, run.attempt, run.last_step, run.create_time, run.start_time, run.end_time)
        keys = ("sequence", "attempt", "last_step", "create_time", "start_time", "end_time")
        return wanted == tuple(told[key] for key in keys) and self._in_line(run, told["queue_position"])

    def _in_line(self, run: Run, position: int) -> bool:
        if run.status != "pending":
            return position == 0
        waiting = [each for run_id in self.version.in_flight if (each := self.run(run_id)) and each.status == "pending"]
        known = [self.line.known.get(each.run_id) for each in waiting]
        if any(each is None or each.due_time is None or each.delayed for each in known):
            return 1 <= position <= len(waiting)
        waiting.sort(key=lambda each: (each.claims == 0, each.number))
        return waiting[position - 1 : position] == [run]

    def holds(self, told: Json, node: Node) -> bool:
        """Whether a state is as told."""
        if (told["step"], told["run_id"]) != (node.step, node.run_id):
            return False
        if node.step and told["create_time"] != node.time:
            return False
        values = node.values()
        return values is None or digest(values) == told["digest"]

    def left_by(self, run: Run) -> Node:
        """The step whose state the run left; what is there of it after steps of others under it were cut off."""
        node = run.left or self.version.top
        while self.version.top.step < node.step or self.version.top.at(node.step) is not node:
            assert node.parent is not None
            node = node.parent
        return node

    def status(self) -> set[str]:
        """What the thread's status may be: records of runs that ended may have been deleted."""
        if self.version.in_flight:
            return {"busy"}
        found = set()
        ended = [self.run(run_id) for run_id in self.thread.ended[: self.version.ended]]
        left = sorted(
            (run for run in ended if run and run.status != "deleted"), key=lambda run: (run.end_time, run.number)
        )
        for run in reversed(left):
            found.add(THREAD_STATUS[run.status])
            if not self.may_be_removed(run.run_id):
                return found
        return found | {"idle"}


def _in_life(rule: Callable[[_At, Call], bool]) -> Callable[[_At, Call], bool]:
    return lambda at, call: at.place.version is not None and rule(at, call)


# Refusals


def _busy(at: _At, call: Call) -> bool:
    told, version = call.answer["metadata"], at.version
    if call.name == "create_run" and call.args.get("strategy") not in ("reject", None):
        return False
    run = at.run(told["active_run_id"])
    if run is None or run.run_id not in version.in_flight or len(version.in_flight) != int(told["in_flight_runs"]):
        return False
    status = told["active_run_status"].removeprefix("RUN_STATUS_").lower()
    return run.status == status and version.running in (None, run.run_id)


def _queue_full(at: _At, call: Call) -> bool:
    told, version = call.answer["metadata"], at.version
    pending = len(version.in_flight) - (version.running is not None)
    return pending == int(told["queued_runs"]) >= int(told["max_queued_runs"])


def _not_there(at: _At, call: Call) -> bool:
    if at.place.empty:
        return True
    if call.name == "create_run":
        runs = [run_id for run_id, life in at.line.home.items() if life == at.place.life]
        return any(_removed(at, run_id) for run_id in runs if at.line.tag(run_id) == call.args["tag"])
    return at.run(call.args["run_id"]) is None or _removed(at, call.args["run_id"])


def _removed(at: _At, run_id: str) -> bool:
    run = at.run(run_id)
    return _ended(run) and at.may_be_removed(run_id)


def _ended(run: Run | None) -> bool:
    return run is not None and run.status in TERMINAL and run.status != "deleted"


def _rolled_back(at: _At, call: Call) -> bool:
    run = at.run(call.args["run_id"])
    return run is not None and run.status == "deleted" and call.answer["metadata"]["superseded_by"] == run.superseded_by


def _in_flight(at: _At, call: Call) -> bool:
    run = at.run(call.args["run_id"])
    return run is not None and run.status in IN_FLIGHT


REFUSALS: Final[dict[str, Callable[[_At, Call], bool]]] = {
    "THREAD_NOT_FOUND": lambda at, call: at.place.empty,
    "THREAD_EXISTS": lambda at, call: not at.place.empty,
    "THREAD_BUSY": _in_life(_busy),
    "QUEUE_FULL": _in_life(_queue_full),
    "RUN_NOT_FOUND": _not_there,
    "RUN_ROLLED_BACK": _rolled_back,
    "RUN_IN_FLIGHT": _in_flight,
    "STEP_NOT_FOUND": _in_life(
        lambda at, call: at.version.top.step == int(call.answer["metadata"]["last_step"]) < (call.args.get("step") or 0)
    ),
}


# Answers


def _thread(at: _At, call: Call) -> bool:
    told, version = call.answer, at.version
    facts = (version.running or "", len(version.in_flight) - (version.running is not None))
    if facts != (told["active_run_id"], told["queued_runs"]) or told["status"] not in at.status():
        return False
    return at.line.is_life_of(at.place.life, told["create_time"])


def _created_thread(at: _At, call: Call) -> bool:
    begins = at.place.version is not None and at.place.number == at.line.first[at.place.life]
    return (
        begins and at.since.number < at.place.number and at.line.is_life_of(at.place.life, call.answer["create_time"])
    )


def _deleted_thread(at: _At, call: Call) -> bool:
    return at.place.empty and at.place.life >= 0 and at.since.number < at.place.number


def _created_run(at: _At, call: Call) -> bool:
    told = call.answer
    if not at.shows(told):
        return False
    if call.args.get("strategy") not in (None, told["multitask_strategy"]) and told["status"] != "deleted":
        return False
    heirs = {run_id for run_id in at.thread.runs if at.thread.last(run_id).superseded_by == told["run_id"]}
    listed = [run["run_id"] for run in told["superseded"]]
    if not set(listed) <= heirs or len(set(listed)) < len(listed) or not all(map(at.shows, told["superseded"])):
        return False
    return all(map(at.may_be_removed, heirs - set(listed)))


def _joined(at: _At, call: Call) -> bool:
    told, state = call.answer["run"], call.answer["state"]
    if at.place.empty:
        ended = told["status"] == "deleted" and told["reason"] == "THREAD_DELETED"
        return ended and at.line.home.get(told["run_id"]) == at.place.life and state["step"] == 0
    run = at.run(told["run_id"])
    if run is None or not at.shows(told):
        return False
    if run.status not in TERMINAL:
        return at.holds(state, at.version.top)
    if run.status == "deleted":  # only who was joined when it happened is told so
        before = _At(at.line, at.since, at.since, call).run(told["run_id"])
        if before is not None and before.status == "deleted":
            return False
    return at.holds(state, at.left_by(run))


def _state(at: _At, call: Call) -> bool:
    step = call.args.get("step")
    if step is None:
        return at.holds(call.answer, at.version.top)
    return at.version.top.step >= step and at.holds(call.answer, at.version.top.at(step))


def _states(at: _At, call: Call) -> bool:
    items, top = call.answer["items"], at.version.top
    if len(items) != min(call.args["most"], top.step):
        return False
    return all(at.holds(told, top.at(top.step - place)) for place, told in enumerate(items))


def _runs(at: _At, call: Call) -> bool:
    told = {run["run_id"]: run for run in call.answer["items"]}
    if not set(at.version.in_flight) <= set(told) or len(told) != len(call.answer["items"]):
        return False
    if not all(at.shows(run) and run["status"] != "deleted" for run in told.values()):
        return False
    numbers = [run["sequence"] for run in call.answer["items"]]
    if numbers != sorted(numbers, reverse=True):
        return False
    others = [run for run_id in at.thread.runs if run_id not in told and (run := at.run(run_id)) is not None]
    return all(run.status == "deleted" or at.may_be_removed(run.run_id) for run in others)


def _stepped_by_hand(at: _At, call: Call) -> bool:
    node = at.line.by_hand.get(call.args["tag"])
    return (
        node is not None
        and at.version.top.step >= node.step
        and at.version.top.at(node.step) is node
        and at.holds(call.answer, node)
    )


def _run_removed(at: _At, call: Call) -> bool:
    return _ended(at.run(call.args["run_id"]))


def _watched(at: _At, call: Call) -> bool:
    """The run's events from the first to the one that ended it, or as far as they were read. Of those that its thread
    took with it when it was deleted, the last one is told all the same."""
    run_id, told = call.args["run_id"], call.answer["events"]
    if not told and not call.answer["ended"]:  # the server was not there all the while
        return True
    if at.place.life < 0 or at.line.home.get(run_id) != at.place.life:
        return False
    events = [event for event in at.line.lives[at.place.life].events if event["run_id"] == run_id]
    known = [[event["sequence"], event["kind"], event["time"]] for event in events]
    with_thread = bool(events) and events[-1].get("run_changed", {}).get("reason") == "THREAD_DELETED"
    if call.answer["ended"] and with_thread and told[-1:] == known[-1:]:
        known = [*known[: len(told) - 1], known[-1]]
    if known[: len(told)] != told:
        return False
    if call.answer["ended"] and (len(told) < len(known) or at.thread.last(run_id).status not in TERMINAL):
        return False
    return at.place.version is None or not told or told[-1][0] <= at.version.event


ANSWERS: Final[dict[str, Callable[[_At, Call], bool]]] = {
    "create_thread": _created_thread,
    "delete_thread": _deleted_thread,
    "get_thread": _in_life(_thread),
    "update_thread": _in_life(_thread),
    "get_state": _in_life(_state),
    "list_states": _in_life(_states),
    "update_state": _in_life(_stepped_by_hand),
    "create_run": _in_life(_created_run),
    "get_run": _in_life(lambda at, call: at.shows(call.answer)),
    "list_runs": _in_life(_runs),
    "join": _joined,
    "cancel": _in_life(lambda at, call: call.answer["status"] in TERMINAL and at.shows(call.answer)),
    "delete_run": _in_life(_run_removed),
    "watch_run": _watched,
}
