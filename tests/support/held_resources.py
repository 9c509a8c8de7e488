"""What a server holds for the calls that are under way. Once they are over, all of it must be let go."""

import asyncio
from collections import Counter
from typing import Any

from tests.support.server import Service

PATIENCE = 100
"""Calls there and back in which what a call left behind must be gone: each lets both sides do what they have to."""


def live(service: Service) -> Counter[str]:
    """Counts of all that a call may hold, the event loop's tasks among it by their names."""
    app = service.app
    hub, executor = app.hub, app.executor
    held = {
        "calls in the room for calls": app.edge._calls.taken,
        "calls in the room for waiting": app.edge._waiting.taken + app.edge._leases.taken,
        "joiners": hub.joiners,
        "watchers": hub.event_readers,
        "runs that are watched": len(hub._by_run),
        "threads that are read": len(hub._news),
        "threads whose stop is awaited": len(hub._by_thread),
        "claimers": app.dispatcher.claimers,
        "claims that are taken back": len(app.workers._returns),
        "attempts": len(executor._live),
        "attempts' tasks": len(executor._tasks),
        "waiting for a lane": sum(
            len(lane._waiting) for lane in (service.sqlite.writer, service.sqlite.rows, service.sqlite.scans)
        ),
    }
    return Counter(held) + Counter(_name(task) for task in asyncio.all_tasks())


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", repr(task))


async def at_rest(service: Service) -> Counter[str]:
    """What is held while no call is under way, once the executor waits for runs too."""
    while not service.app.dispatcher.claimers:
        await service.client.assistants.get("agent")
    return live(service)


async def let_go(service: Service, before: Counter[str]) -> None:
    """Wait until no more is held than before, and no transaction is open."""
    for _ in range(PATIENCE):
        await service.client.assistants.get("agent")
        await service.app.store.settled()
        if not live(service) - before and not service.sqlite.writer.in_transaction:
            return
    assert not service.sqlite.writer.in_transaction
    left = live(service) - before
    assert not left, f"held still: {dict(left)}"
