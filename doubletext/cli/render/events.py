"""A thread's events as a person reads them, and from where on they can be had.

What events hold was written by others: text that leaves here is safe to print, in one line unless said otherwise.
"""

from collections.abc import AsyncIterator
from typing import Final

from doubletext import types
from doubletext.cli.render.text import Json, as_json, in_line, message_row
from doubletext.client import Client
from doubletext.errors import EventsTrimmed

# Channels on which a graph sends text in pieces, {"text": "It is"}, {"text": " sunny"}: shown as what they make up.
JOINED: Final = ("token", "tokens", "text", "delta")
FINAL: Final = ("success", "interrupted", "error", "timeout", "deleted", "merged")
BY_HAND: Final = "by hand"


def short(run_id: str) -> str:
    """Return the end of a run's id. The beginning of a UUIDv7 is the time, which neighbours share."""
    return in_line(run_id[-8:])


def piece(event: types.Event) -> str | None:
    """Return the piece of text in an event, which is not safe to print. None for any other event."""
    output = event.get("output")
    if output is None or output["channel"] not in JOINED:
        return None
    texts = [_text(data) for data in (output["value"] if "first_part" in output else [output["data"]])]
    return None if None in texts else "".join(str(text) for text in texts)


def _text(data: Json | None) -> str | None:
    values = list(data.values()) if isinstance(data, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def shown(output: types.Output) -> str:
    """Return what an output shows, as one line."""
    value = output.get("value", output["data"])
    return "rolled back" if value is None and "value" not in output else as_json(value)


def end_of(event: types.Event) -> types.RunChanged | None:
    """Return how an event ends its run. None for an event that ends no run."""
    changed = event.get("run_changed")
    return changed if changed is not None and changed["to"] in FINAL else None


def what(event: types.Event) -> str:
    """Return what happened in an event. A step or an output comes in full."""
    if "run_changed" in event:
        return moved(event["run_changed"])
    if "step_committed" in event:
        update = event["step_committed"]["update"]
        return f"step {event['step_committed']['step']}  {'rolled back' if update is None else as_json(update)}"
    if "output" in event:
        return f"{in_line(event['output']['channel'])}  {shown(event['output'])}"
    if "run_edited" in event:
        edited = event["run_edited"]
        return f"edited, revision {edited['revision']}, {edited['queue_position']} in the queue"
    if "thread_changed" in event:
        return "held" if event["thread_changed"]["held"] else "let go"
    return "an event that this version does not know"


def moved(changed: types.RunChanged) -> str:
    into = in_line(f"into {changed['merged_into']}") if changed["merged_into"] else ""
    why = cause(changed["reason"], changed["superseded_by"])
    return "  ".join(text for text in (in_line(changed["to"]), into, why) if text)


def cause(reason: str, superseded_by: str) -> str:
    """Return why a run ended, such as `SUPERSEDED by ID`. Empty when its graph ended it."""
    return in_line(f"{reason} by {superseded_by}" if superseded_by else reason)


def line(event: types.Event) -> str:
    """Return an event as a line: its sequence, its time, its run, and what happened."""
    who = in_line(event["run_id"]) or BY_HAND
    return f"{event['sequence']}  {in_line(event['time'])}  {who}  {what(event)}"


def saying(update: Json | None) -> str:
    """Return a step, shorter than its JSON: who says what, then the other keys."""
    if update is None:
        return "rolled back"
    messages = update.get("messages")
    said = messages if isinstance(messages, list) else [] if messages is None else [messages]
    texts = [in_line(f"{who}: {text}") for who, text in map(message_row, said)]
    texts += [f"{in_line(key)}: {in_line(value)}" for key, value in update.items() if key != "messages"]
    return "; ".join(texts)


async def events_of(client: Client, thread_id: str, after: int | None) -> AsyncIterator[types.Event]:
    """The thread's events after a sequence (None: from the oldest on that is still kept), then those to come.

    Raises ThreadNotFound when the thread is deleted, and EventsTrimmed only for a sequence that was asked for.
    """
    try:
        async for event in client.threads.watch(thread_id, after_sequence=after or 0):
            after = event["sequence"]
            yield event
    except EventsTrimmed as trimmed:
        if after is not None:
            raise
        oldest = trimmed.oldest_sequence
    else:
        return
    async for event in client.threads.watch(thread_id, after_sequence=oldest - 1):
        yield event
