"""The script that is played to a server at each crash point: every strategy, every call that writes, always the same.

Each thread has a story of its own, and at the end some runs are left in flight for the server to hand back.
"""

from tests.robustness.traffic.recording_client import BY_HAND, Caller

OPTIONS: tuple[str, ...] = ("--keep-per-thread", "100")


async def play(caller: Caller) -> None:
    """Make all calls. Raises Unavailable when the server dies."""
    await caller.create_assistant(BY_HAND)
    await line(caller)
    await cut(caller)
    await refused(caller)
    await worked(caller)
    await gone(caller)
    await left(caller)


async def made(caller: Caller, thread_id: str) -> str:
    await caller.create_thread(thread_id)
    caller.watch(thread_id)
    return thread_id


async def line(caller: Caller) -> None:
    """A run that runs, two that wait, one of which is cancelled; then an interrupt of them all, and a step by hand."""
    thread = await made(caller, "line")
    await caller.run(thread, "a", hold=True, steps=2)
    await caller.at_step(thread, 3)
    await caller.run(thread, "b", "enqueue")
    waiting = await caller.run(thread, "c", "enqueue", "echo")
    await caller.cancel(thread, waiting)
    newest = await caller.run(thread, "d", "interrupt", steps=3)
    await caller.join(thread, newest)
    await caller.update_state(thread, {"note": "by hand"})


async def cut(caller: Caller) -> None:
    """A run that stays; on top of it one with steps, outputs and a queue is rolled back, by a run and by a cancel."""
    thread = await made(caller, "cut")
    first = await caller.run(thread, "a")
    await caller.join(thread, first)
    await caller.run(thread, "b", hold=True, steps=2)
    await caller.at_step(thread, 5)
    await caller.run(thread, "c", "enqueue", "echo")
    heir = await caller.run(thread, "d", "rollback", steps=2)
    assert await caller.run(thread, "d", "rollback", steps=2) == heir
    await caller.join(thread, heir)
    cancelled = await caller.run(thread, "e", hold=True)
    await caller.at_step(thread, 7)
    await caller.cancel(thread, cancelled, "rollback")


async def refused(caller: Caller) -> None:
    """What is refused while a run is in flight and accepted when it is not; and a delayed run that never starts."""
    thread = await made(caller, "refused")
    busy = await caller.run(thread, "a", hold=True)
    await caller.at_step(thread, 2)
    await caller.refused_run(thread, "b")
    await caller.refused_update(thread)
    await caller.cancel(thread, busy, "interrupt")
    await caller.run(thread, "c", delay=3600)
    await caller.run(thread, "d", "rollback")
    last = await caller.run(thread, "e", "enqueue", "echo")
    await caller.join(thread, last)
    await caller.run(thread, "f", "reject")


async def worked(caller: Caller) -> None:
    """A run that a worker executes, with so many outputs that the thread's oldest events are trimmed."""
    await caller.create_thread("worked")
    run_id = await caller.run("worked", "a", None, BY_HAND)
    lease = (await caller.claim()).lease
    await caller.commit_step("worked", lease, "first", 2)
    await caller.publish(lease, 120)
    await caller.commit_step("worked", lease, "second", 3)
    await caller.commit_step("worked", lease, "second", 3)
    await caller.finish("worked", lease)
    await caller.join("worked", run_id)


async def gone(caller: Caller) -> None:
    """Records that are deleted: a run's, and a thread's with a run in flight."""
    await caller.create_thread("less")
    run_id = await caller.run("less", "a", None, "echo")
    await caller.join("less", run_id)
    await caller.delete_run("less", run_id)
    thread = await made(caller, "gone")
    await caller.run(thread, "a", hold=True)
    await caller.at_step(thread, 2)
    await caller.run(thread, "b", "enqueue", "echo")
    await caller.delete_thread(thread)


async def left(caller: Caller) -> None:
    """A state so large that a snapshot is made of it, and runs that are in flight at the end."""
    thread = await made(caller, "left")
    await caller.update_state(thread, {"large": "x" * 70_000})
    await caller.client.threads.get_state(thread)
    await caller.run(thread, "a", hold=True, steps=2)
    await caller.at_step(thread, 4)
    await caller.run(thread, "b", "enqueue")
