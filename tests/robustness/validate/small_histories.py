"""Histories of a few calls, written by hand: a thread `t` that was made at 0, and what happens to it from 1 on."""

import math
from typing import Any, Final

from tests.robustness.history.history import Call, History, Json, Life
from tests.robustness.validate.wrong_histories import moved

T: Final = "t"


def at(moment: float) -> str:
    return f"2026-01-01T00:00:{moment:09.6f}Z"


class Tiny:
    def __init__(self) -> None:
        self.life = Life(T, 0)
        self.history = History(lives=[self.life], finished=True)
        self.call("create_thread", 0, 0.1, {**self._thread({}), "create_time": at(0)})

    def call(self, name: str, began: float, ended: float = math.inf, answer: Json | None = None, **args: Any) -> Call:
        """One that was answered; without an answer, one whose outcome is not known."""
        made = Call(len(self.history.calls), 1, name, T, args, began, ended, "unknown" if answer is None else "ok")
        made.answer = answer or {}
        self.history.calls.append(made)
        return made

    def happens(self, moment: float, event: Json, seen: float = 100) -> None:
        number = len(self.life.events) + 1
        self.life.events.append({"sequence": number, "thread_id": T, "time": at(moment), **event})
        self.life.seen.append(seen)

    def admitted(self, tag: str, moment: float, seen: float = 100) -> None:
        self.happens(moment, moved(f"run {tag}", None, "pending"), seen)

    def creates(
        self,
        tag: str,
        began: float,
        ended: float,
        moment: float,
        number: int = 1,
        position: int = 1,
        strategy: str = "enqueue",
    ) -> Call:
        """A CreateRun that was answered, of a run that was admitted at that moment."""
        run = pending(tag, moment, number, position, strategy)
        return self.call("create_run", began, ended, {**run, "superseded": []}, tag=tag, strategy=strategy)

    def creates_unknown(self, tag: str, began: float, ended: float = math.inf, strategy: str = "enqueue") -> Call:
        return self.call("create_run", began, ended, tag=tag, strategy=strategy)

    def refused(self, began: float, ended: float, busy_with: str) -> Call:
        """A CreateRun with REJECT that found that run in its way."""
        facts = {"active_run_id": f"run {busy_with}", "active_run_status": "RUN_STATUS_PENDING", "in_flight_runs": "1"}
        made = self.call(
            "create_run", began, ended, {"reason": "THREAD_BUSY", "metadata": facts}, tag="r", strategy="reject"
        )
        made.outcome = "refused"
        return made

    def lists(self, began: float, ended: float, *runs: Json) -> Call:
        return self.call("list_runs", began, ended, {"items": list(runs)})

    def sets(self, tag: str, began: float, ended: float) -> Call:
        return self.call("update_thread", began, ended, self._thread({"tag": tag}), tag=tag)

    def reads(self, tag: str, began: float, ended: float) -> Call:
        return self.call("get_thread", began, ended, self._thread({"tag": tag} if tag else {}))

    def _thread(self, metadata: Json) -> Json:
        facts = {"status": "idle", "active_run_id": "", "queued_runs": 0}
        return {**facts, "metadata": metadata, "create_time": at(0)}


def pending(tag: str, moment: float, number: int = 1, position: int = 1, strategy: str = "enqueue") -> Json:
    return {
        **{"run_id": f"run {tag}", "status": "pending", "assistant_id": "a", "multitask_strategy": strategy},
        **{"metadata": {"tag": tag}, "sequence": number, "queue_position": position, "attempt": 0, "last_step": 0},
        **{"create_time": at(moment), "due_time": at(moment), "start_time": None, "end_time": None},
        **{"superseded_by": "", "reason": "", "timeout": None},
    }
