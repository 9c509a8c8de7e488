"""Writes a history while it happens: each call of a client before it is sent, and its answer when it is there."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from typing import Any, Final

from doubletext import DoubletextError
from doubletext.errors import DeadlineExceeded, Unavailable
from tests.histories.history import Json, Outcome

RUN_KEYS: Final = (
    *("run_id", "status", "assistant_id", "multitask_strategy", "metadata", "sequence", "queue_position", "attempt"),
    *("create_time", "due_time", "start_time", "end_time", "superseded_by", "reason", "last_step", "timeout"),
)


class Recorder:
    """`calls`, `refused`, `unknown`, `events`: how many there were, by name, reason and what happened."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._numbers = count(1)
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def note(self, kind: str, **what: Any) -> None:
        self._file.write(json.dumps({"kind": kind, **what, "at": time.monotonic()}, separators=(",", ":")) + "\n")

    def on_commit(self, event: Json, **where: Any) -> None:
        """Note an event of a thread."""
        self.note("event", **where, event=event)
        changed = event.get("run_changed", {"to": event["kind"], "reason": ""})
        self.events[" ".join(filter(None, (changed["to"], changed["reason"])))] += 1

    def close(self) -> None:
        self._file.close()

    async def call(self, client: int, name: str, thread: str, args: Json, work: Awaitable[Any]) -> Any:
        """The answer; None for a refusal or for an outcome that is not known."""
        number = next(self._numbers)
        self.calls[name] += 1
        self.note("call", n=number, client=client, name=name, thread=thread, args=args)
        try:
            answer = await work
        except DoubletextError as error:
            unknown = isinstance(error, Unavailable | DeadlineExceeded) or not error.reason
            reason = error.reason or type(error).__name__
            told = {"reason": reason, "metadata": error.metadata, "message": error.message}
            self._answered(number, "unknown" if unknown else "refused", told)
            return None
        except (TimeoutError, asyncio.CancelledError) as error:
            self._answered(number, "unknown", {"reason": "HungUp"})
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return None
        self._answered(number, "ok", brief(answer))
        return answer

    def _answered(self, number: int, outcome: Outcome, answer: Json) -> None:
        self.note("answer", n=number, outcome=outcome, answer=answer)
        if outcome == "refused":
            self.refused[answer["reason"]] += 1
        elif outcome == "unknown":
            self.unknown[answer["reason"]] += 1


def brief(answer: Any) -> Json:
    """An answer without what is long: of a state's values, a digest."""
    match answer:
        case None:
            return {}
        case list():
            return {"items": [brief(item) for item in answer]}
        case {"run": run, "state": state}:
            return {"run": brief(run), "state": brief(state)}
        case {"run_id": _, "status": _}:
            made = {key: answer[key] for key in RUN_KEYS}
            if "superseded" in answer:
                made["superseded"] = [brief(run) for run in answer["superseded"]]
            return made
        case {"step": step, "values": values}:
            kept = {"step": step, "run_id": answer["run_id"], "create_time": answer["create_time"]}
            return {**kept, "digest": digest(values)}
    return dict(answer)


def digest(values: Json) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
