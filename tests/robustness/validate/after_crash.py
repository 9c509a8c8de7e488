"""What is wrong after a crash: each answer that was given is held against the server that came back, and its file."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from doubletext import RunNotFound, RunRolledBack, ThreadNotFound
from doubletext.types import Event
from doubletext_server.store.check import check
from tests.robustness.traffic.recording_client import BY_HAND, Caller, Once, Thread, Told
from tests.support.events import Event as Kept
from tests.support.events import events, reading

TRIMMED = "worked"
"""The thread whose oldest events are trimmed."""


async def judge_server(client: Once, told: Told, db: Path, wrong: list[str]) -> None:
    """Add what is wrong with a server that has just come back: as it is then, and when the call that got no answer was
    made again and every run has ended."""
    unanswered = told.open
    wrong += [each async for each in false_answers(client, told)]
    before = events_of(db)
    wrong += [*untold(before, told), *unsound(db)]
    async with Caller(client, told, repeats=True) as caller:
        await caller.repeat()
        await asyncio.gather(*(come_to_rest(caller, thread_id) for thread_id in there(told)))
    wrong += [each async for each in false_answers(client, told)]
    after = events_of(db)
    wrong += untold(after, told)
    for thread_id, kept in after.items():
        earlier = before.get(thread_id, ())
        if thread_id != TRIMMED and kept[: len(earlier)] != earlier:
            wrong.append(f"{thread_id}: events that were told are others now")
        updated = unanswered is not None and unanswered[0] == "update_state" and thread_id in unanswered[1]
        wrong += [f"{thread_id}: {each}" for each in inexact(db, thread_id, told.threads[thread_id], updated)]


def there(told: Told) -> list[str]:
    return [thread_id for thread_id, thread in told.threads.items() if not thread.deleted]


def unsound(db: Path) -> list[str]:
    return list(check(str(db)).lines())


def events_of(db: Path) -> dict[str, tuple[Kept, ...]]:
    """Of every thread on disk."""
    with reading(db) as connection:
        threads = connection.execute("SELECT thread_id FROM threads").fetchall()
        return {thread_id: events(connection, thread_id) for (thread_id,) in threads}


def untold(found: dict[str, tuple[Kept, ...]], told: Told) -> Iterator[str]:
    """Events that a watcher was told and that are not on disk."""
    for thread_id, there in found.items():
        thread = told.threads.get(thread_id, Thread())
        if thread_id != TRIMMED and thread_id not in thread.asked:
            known = {event.sequence: event for event in there}
            for event in thread.events:
                if not is_event(known.get(event["sequence"]), event):
                    yield f"{thread_id}: {event} was told, and is {known.get(event['sequence'])}"


def is_event(kept: Kept | None, event: Event) -> bool:
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


def inexact(db: Path, thread_id: str, thread: Thread, updated: bool) -> Iterator[str]:
    """At the end all calls but those that cannot be repeated were answered: there is what they made, and nothing else.

    updated  whether the state may have been changed by hand without an answer
    """
    with reading(db) as connection:
        runs = dict(connection.execute("SELECT run_id, status FROM runs WHERE thread_id = ?", (thread_id,)))
        rolled_back = connection.execute("SELECT run_id FROM tombstones WHERE thread_id = ?", (thread_id,)).fetchall()
        sql = "SELECT count(*) FROM steps WHERE thread_id = ? AND run_id IS NULL"
        (by_hand,) = connection.execute(sql, (thread_id,)).fetchone()
    known = set(runs) | {run_id for (run_id,) in rolled_back}
    if known != set(thread.runs) - thread.removed:
        yield f"there are the runs {sorted(known)}, and accepted were {sorted(thread.runs)}"
    yield from (f"run {run_id} is {status}" for run_id, status in runs.items() if status in ("pending", "running"))
    if by_hand - thread.updates not in (0, int(updated)):
        yield f"{by_hand} steps were made by hand, and {thread.updates} answered"
