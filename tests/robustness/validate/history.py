"""Decides whether a history is linearizable: whether each thread, changing one step at a time, could have given all the
answers, each between its call and its return.

The order of the changes need not be guessed: watchers saw the events. So there is one line of places for each thread
(line.py), and each call is put at the first place on it that its answer fits (answers.py) and that is not before the
places of calls answered before it began. If that finds no place for one, there is none: to put a call further along
the line never helps a later one. A call with an unknown outcome happened if its events are there (causes.py). For what
has no events, settings, an order is searched (search.py).

`python -m tests.robustness.validate.history FILE` judges a history that was kept.
"""

import heapq
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from tests.robustness.history.history import Call, History, read
from tests.robustness.validate.answers import REFUSALS, fits
from tests.robustness.validate.causes import causes, latest, lives
from tests.robustness.validate.known_runs import known
from tests.robustness.validate.linearizability import Op, orderable
from tests.robustness.validate.timeline import Line


def judge(history: History) -> list[str]:
    """What is wrong with the answers; empty if nothing is."""
    runs, wrong = known(history)
    for thread in history.threads():
        if not thread:
            continue
        line = Line(history, thread, runs)
        wrong += [f"{thread}: {what}" for what in _thread(line, history)]
    return wrong


def _thread(line: Line, history: History) -> Iterator[str]:
    for life, played in zip(line.lives, line.played, strict=True):
        yield from life.changed
        yield from played.wrong
    walk = _Walk(line, history)
    yield from walk.wrong
    yield from causes(line, history, walk.begun)
    yield from lives(line, walk.begun, walk.put)
    yield from _records(line, walk.put)
    yield from _settings(line, history, walk.put)


class _Walk:
    """Along the line, call by call. `begun`: the place up to which the thread had come, as was known by then, when each
    call began; `put`: the place of each that was answered."""

    def __init__(self, line: Line, history: History) -> None:
        self.line = line
        self.wrong: list[str] = []
        self.begun: dict[int, int] = {}
        self.put: dict[int, int] = {}
        self._facts: list[tuple[float, int, int]] = []
        self._numbers = count()
        for number, life in enumerate(line.lives):
            for at, event in zip(life.seen, life.events, strict=True):
                self._fact(at, line.after(number, event["sequence"]))
        for call in sorted(line.calls, key=lambda call: (call.began, call.number)):
            self._place(call, history)

    def _fact(self, at: float, place: int) -> None:
        """From then on the thread had come so far."""
        heapq.heappush(self._facts, (at, next(self._numbers), place))

    _known = 0

    def _place(self, call: Call, history: History) -> None:
        while self._facts and self._facts[0][0] < call.began:
            self._known = max(self._known, heapq.heappop(self._facts)[2])
        since = self.begun[call.number] = self._known
        if call.outcome == "unknown":
            for after in latest(self.line, call):
                self._fact(history.last_moment(call), after)
            return
        if call.outcome == "refused" and call.reason not in REFUSALS:
            self.wrong.append(f"{call}: no such refusal is foreseen")
            return
        places = self.line.places
        for place in places[since:]:
            if fits(self.line, place, call, places[since]):
                self.put[call.number] = place.number
                self._fact(call.ended, place.number)
                return
        earlier = [place.number for place in places[:since] if fits(self.line, place, call, place)]
        stale = f"; it would have been right at place {earlier[-1]}" if earlier else ""
        self.wrong.append(f"{call} fits no place from {since} of {len(places)} on{stale}")


def _records(line: Line, put: dict[int, int]) -> Iterator[str]:
    """A run's record is there until it is deleted, once, and gone from then on."""
    for run_id, removals in line.removals.items():
        done = [call for call in removals if call.outcome == "ok"]
        if len(done) > 1:
            yield f"the record of {run_id} was deleted twice: {done[0]}; {done[1]}"
        for missed in (*done, *_misses(line, run_id, put)):
            for seen in _sightings(line, run_id):
                if missed.ended < seen.began:
                    yield f"the record of {run_id} is there after it was gone: {missed}; {seen}"
                    break


def _misses(line: Line, run_id: str, put: dict[int, int]) -> Iterator[Call]:
    """The calls that did not find the run's record although its thread was there."""
    for call in line.calls:
        if call.reason == "RUN_NOT_FOUND" and call.args.get("run_id") == run_id and call.number in put:
            place = line.places[put[call.number]]
            if place.version is not None and place.life == line.home.get(run_id):
                yield call


def _sightings(line: Line, run_id: str) -> Iterator[Call]:
    for call in line.calls:
        if call.outcome != "ok":
            continue
        if call.name == "get_run" and call.args["run_id"] == run_id:
            yield call
        if call.name == "list_runs" and any(run["run_id"] == run_id for run in call.answer["items"]):
            yield call


def _settings(line: Line, history: History, put: dict[int, int]) -> Iterator[str]:
    """A thread's metadata are what somebody set them to last."""
    lives: dict[int, list[Op]] = {}
    for call in line.calls:
        if call.name not in ("get_thread", "update_thread"):
            continue
        life = line.places[put[call.number]].life if call.number in put else None
        if call.outcome == "ok" and life is not None:
            ops = lives.setdefault(life, [])
            if call.name == "update_thread":
                ops.append(Op(call.began, call.ended, writes=call.args["tag"]))
            ops.append(Op(call.began, call.ended, reads=call.answer["metadata"].get("tag", "")))
        elif (
            call.name == "update_thread"
        ):  # one that was refused may have been carried out before the thread was deleted
            last = call.ended if call.outcome == "refused" else history.last_moment(call)
            for number in range(len(line.lives)):
                lives.setdefault(number, []).append(Op(call.began, last, writes=call.args["tag"], certain=False))
    for life, ops in lives.items():
        if not orderable(ops):
            yield f"no order of the calls explains what metadata were read in life {life}"


def main(paths: Iterable[str]) -> int:
    found = [wrong for path in paths for wrong in judge(read(Path(path)))]
    sys.stdout.write("".join(f"{wrong}\n" for wrong in found) + f"violations {len(found)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
