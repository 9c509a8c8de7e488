"""What the answers of a history tell of its runs, beside how they went on; and whether they agree about it."""

from collections.abc import Iterable
from typing import Final

from tests.robustness.history.history import History, Json, runs_in
from tests.robustness.validate.model import Known, micros, said
from tests.support.graphs import steps_of

FIXED: Final = ("sequence", "multitask_strategy", "assistant_id", "create_time", "due_time", "timeout", "metadata")
"""What of a run never changes, as long as there is a record of it."""


def known(history: History) -> tuple[dict[str, Known], list[str]]:
    """What is known of each run, and what is wrong with it."""
    told: dict[str, Json] = {}
    wrong = []
    for call in history.calls:
        for run in runs_in(call.answer) if call.outcome == "ok" else ():
            if run["status"] == "deleted" and not run["sequence"]:
                continue
            # Of a run that is gone, and of one that was superseded if its record is, the metadata are not told.
            fixed = {key: run[key] for key in FIXED if run["metadata"] or key != "metadata"}
            before = told.setdefault(run["run_id"], fixed)
            if any(before.setdefault(key, value) != value for key, value in fixed.items()):
                wrong.append(f"{call}: run {run['run_id']} is {fixed}, and was {before}")
    inputs = _inputs(history)
    assistants = {call.args["assistant_id"]: call.args for call in history.calls if call.name == "create_assistant"}
    return {run_id: _known(run_id, told.get(run_id, {}), inputs, assistants) for run_id in told | inputs}, wrong


def _known(run_id: str, told: Json, inputs: dict[str, str], assistants: dict[str, Json]) -> Known:
    due, created = told.get("due_time"), told.get("create_time")
    assistant = assistants.get(told.get("assistant_id", ""), {})
    return Known(
        tag=told.get("metadata", {}).get("tag") or inputs.get(run_id),
        sequence=told.get("sequence"),
        strategy=told.get("multitask_strategy"),
        due_time=due,
        timeout=told.get("timeout"),
        max_attempts=assistant.get("max_attempts"),
        steps=steps_of(run_id),
        delayed=due is not None and micros(due) > micros(created),
    )


def _inputs(history: History) -> dict[str, str]:
    """What runs say first, which is the tag of the call that made them."""
    first: dict[str, str] = {}
    for event in _events(history):
        step = event.get("step_committed")
        if step and event["run_id"] and step["update"] is not None:
            first.setdefault(event["run_id"], said(step["update"]))
    tags = {call.args["tag"] for call in history.calls if call.name == "create_run"}
    return {run_id: text for run_id, text in first.items() if text in tags}


def _events(history: History) -> Iterable[Json]:
    return (event for life in history.lives for event in life.events)
