"""What is wrong after a crash: each answer that was given is held against the server that came back, and its file."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from doubletext import RunNotFound, RunRolledBack, ThreadNotFound
from doubletext.types import Event
from doubletext_server.store.check import check
from tests.crash.told import BY_HAND, Caller, Once, Thread, Told
from tests.worker.checker import TERMINAL, judge, judge_growth
from tests.worker.record import Record, read, reading, threads

TRIMMED = ("worked", "less")
"""Threads of which something was deleted that the checker wants to see: a run's record, events."""


async def judge_server(client: Once, told: Told, db: Path, wrong: list[str]) -> None:
    """Add what is wrong with a server that has just come back: as it is then, and when the call that got no answer was
    made again and every run has ended."""
    unanswered = told.open
    wrong += [each async for each in false_answers(client, told)]
    before = records(db)
    wrong += [*judged(before, told), *unsound(db)]
    async with Caller(client, told, repeats=True) as caller:
        await caller.repeat()
        await asyncio.gather(*(come_to_rest(caller, thread_id) for thread_id in there(told)))
    wrong += [each async for each in false_answers(client, told)]
    after = records(db)
    wrong += judged(after, told)
    for thread_id, record in after.items():
        if thread_id in before and thread_id not in TRIMMED:
            wrong += [f"{thread_id}: {each}" for each in judge_growth(before[thread_id], record)]
        updated = unanswered is not None and unanswered[0] == "update_state" and thread_id in unanswered[1]
        wrong += [f"{thread_id}: {each}" for each in inexact(record, told.threads[thread_id], updated)]


def there(told: Told) -> list[str]:
    return [thread_id for thread_id, thread in told.threads.items() if not thread.deleted]


def unsound(db: Path) -> list[str]:
    return list(check(str(db)).lines())


def records(db: Path) -> dict[str, Record]:
    """Every thread as it is on disk; of all of them the same instant is not needed."""
    with reading(db) as connection:
        found = {thread_id: read(connection, thread_id) for thread_id in threads(connection)}
    return {thread_id: record for thread_id, record in found.items() if record is not None}


def judged(found: dict[str, Record], told: Told) -> Iterator[str]:
    for thread_id, record in found.items():
        thread = told.threads.get(thread_id, Thread())
        if thread_id not in TRIMMED:
            yield from (f"{thread_id}: {each}" for each in judge(record, set(thread.runs) - thread.asked))
            known = {event.sequence: event for event in record.events}
            for event in thread.events:
                if thread_id not in thread.asked and not is_event(known.get(event["sequence"]), event):
                    yield f"{thread_id}: {event} was told, and is {known.get(event['sequence'])}"


def is_event(kept: Any, event: Event) -> bool:
    if kept is None or (kept.run_id or "") != event["run_id"]:
        return False
    change = event.get("run_changed")
    moved = change and (change["from"], change["to"], change["superseded_by"] or None, change["reason"] or None)
    step = event.get("step_committed")
    return bool(kept.change == (moved or None) and kept.step == (step["step"] if step else None))


async def false_answers(client: Once, told: Told) -> AsyncIterator[str]:
    """What the server says now that is not what it said."""
    assistants = {assistant["assistant_id"] async for assistant in client.assistants.list()}
    if lost := told.assistants - assistants:
        yield f"the assistants {lost} are gone"
    for thread_id, thread in told.threads.items():
        try:
            await client.threads.get(thread_id)
        except ThreadNotFound:
            if thread_id not in thread.asked:
                yield f"thread {thread_id} is gone"
            continue
        if thread.deleted:
            yield f"thread {thread_id} was deleted, and is there"
        async for each in false_of_thread(client, thread_id, thread):
            yield f"{thread_id}: {each}"


async def false_of_thread(client: Once, thread_id: str, thread: Thread) -> AsyncIterator[str]:
    for run_id, text in thread.runs.items():
        now = await ended(client, thread_id, run_id)
        if now is None and run_id not in thread.asked:
            yield f"run {run_id}, {text}, is gone"
        if now is not None and run_id in thread.removed:
            yield f"run {run_id}, {text}, was deleted, and is {now}"
        if now is not None and thread.ends.get(run_id, now) != now:
            yield f"run {run_id}, {text}, was {thread.ends[run_id]}, and is {now}"
    for step, values in thread.states.items():
        if (await client.threads.get_state(thread_id, step))["values"] != values:
            yield f"the state after step {step} was another"
    for step, (run_id, text) in thread.steps.items():
        state = await client.threads.get_state(thread_id, step)
        if (state["run_id"], state["values"]["messages"][-1]["content"]) != (run_id, text):
            yield f"step {step} was {text!r} of {run_id}, and is {state}"


async def ended(client: Once, thread_id: str, run_id: str) -> tuple[str, str] | None:
    """The run's status and what superseded it; None when nothing is known of it."""
    try:
        run = await client.runs.get(thread_id, run_id)
    except RunRolledBack as gone:
        return "deleted", gone.superseded_by
    except RunNotFound:
        return None
    return run["status"], run["superseded_by"]


async def come_to_rest(caller: Caller, thread_id: str) -> None:
    """Let what is in flight end, and one more run. What waits for an hour, or for a worker, is cancelled."""
    async for run in caller.client.runs.list(thread_id, statuses=["pending", "running"], oldest_first=True):
        if run["assistant_id"] == BY_HAND or run["due_time"] != run["create_time"]:
            await caller.client.runs.cancel(thread_id, run["run_id"])
        else:
            await caller.client.runs.join(thread_id, run["run_id"])
    last = await caller.run(thread_id, "last", "enqueue", "echo")
    await caller.join(thread_id, last)


def inexact(record: Record, thread: Thread, updated: bool) -> Iterator[str]:
    """At the end all calls but those that cannot be repeated were answered: there is what they made, and nothing else.

    updated  whether the state may have been changed by hand without an answer
    """
    runs = {run.run_id: run for run in record.runs}
    known = set(runs) | {grave.run_id for grave in record.graves}
    if known != set(thread.runs) - thread.removed:
        yield f"there are the runs {sorted(known)}, and accepted were {sorted(thread.runs)}"
    yield from (f"9: {run.run_id} is {run.status}" for run in record.runs if run.status not in TERMINAL)
    by_hand = sum(step.run_id is None for step in record.steps)
    if by_hand - thread.updates not in (0, int(updated)):
        yield f"{by_hand} steps were made by hand, and {thread.updates} answered"
