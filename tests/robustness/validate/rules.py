"""The contract's rules that need no history, written down once more: nothing of the server is asked."""

from collections.abc import Mapping
from typing import Any, Final

IN_FLIGHT: Final = ("pending", "running")
TERMINAL: Final = ("interrupted", "success", "error", "timeout", "deleted")
# fmt: off
MOVES: Final = {
    (None, "pending"),
    ("pending", "running"), ("pending", "interrupted"), ("pending", "deleted"),
    ("running", "pending"), ("running", "interrupted"), ("running", "deleted"),
    ("running", "success"), ("running", "error"), ("running", "timeout"),
}
# fmt: on
THREAD_STATUS: Final = {
    None: "idle",
    "success": "idle",
    "interrupted": "interrupted",
    "error": "error",
    "timeout": "error",
}


def join(values: dict[str, Any], update: Mapping[str, Any], reducers: Mapping[str, str]) -> None:
    """Let a step's update join a state."""
    for key, value in update.items():
        reducer = reducers.get(key, "replace")
        if reducer == "replace":
            values[key] = value
            continue
        old, new = (
            each if isinstance(each, list) else [] if each is None else [each] for each in (values.get(key), value)
        )
        values[key] = merged = list(old)
        for item in new:
            name = item.get("id") if isinstance(item, dict) and reducer == "messages" else None
            there = [at for at, each in enumerate(merged) if isinstance(each, dict) and each.get("id") == name]
            if isinstance(name, str) and there:
                merged[there[-1]] = item
            else:
                merged.append(item)
