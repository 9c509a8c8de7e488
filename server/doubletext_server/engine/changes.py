"""Changes of a thread: load its view, decide, write what was decided, commit, tell.

Every change of a thread goes through `Changes.change`, whatever store keeps the rows. The arbiter decides within the
store's transaction, so that nothing comes between what it reads and what is written. See docs/decisions/0051.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import structlog

from doubletext_server.engine.busy import Busy
from doubletext_server.store.protocol import Store, Transaction
from doubletext_server.store.rows import rows
from doubletext_statemachine.arbiter import decide, needs_idle
from doubletext_statemachine.commands import ClaimRun, Command, DeleteThread, ExpireThread
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import NotReady, Refusal
from doubletext_statemachine.model import ThreadView

Listener: TypeAlias = Callable[[str, Decision], None]
"""Called with a thread's id and a Decision once it is committed, on the event loop, in order of commit."""

FollowUp: TypeAlias = Callable[[str, Decision], ClaimRun | None]
"""Called before the commit of each Decision: what to claim of the same thread in the same commit, if anything. It runs
on the store's own thread, and must not wait for anything."""

log = structlog.get_logger("changes")


class Changed(NamedTuple):
    """What one transaction decided: on the command, and on the claim that follows it; and the thread after both, None
    where the view does not list all that is in flight."""

    decisions: tuple[Decision, ...]
    after: ThreadView | None


class Changes:
    """listeners  called after each commit, in this order; one that fails keeps nobody from the others
    follow_up  None for no claim in the same commit
    """

    def __init__(self, store: Store, listeners: Sequence[Listener] = (), follow_up: FollowUp | None = None) -> None:
        self.listeners = list(listeners)
        self._store = store
        self._follow_up = follow_up
        self._busy = Busy()
        self._now = 0

    async def change(self, command: Command) -> Decision:
        """Decide on the command and commit the Decision.

        It is on disk when this returns, and goes on when the caller is cancelled. Raises the arbiter's Refusal, with
        nothing written; the Decision's own, once it is committed; and NotReady when nothing can be written just now.
        """
        thread_id = command.thread_id
        busy = self._busy.view(thread_id)
        if busy is not None and needs_idle(command, busy.thread):
            decide(busy, command, max(self._now, self._store.clock()))  # refuses it
        self._busy.begin(thread_id)
        changed: Changed = await self._store.transact(
            partial(self._change, command),
            partial(self._committed, thread_id),
            partial(self._failed, thread_id),
            deletes=isinstance(command, (DeleteThread, ExpireThread)),
        )
        decision = changed.decisions[0]
        if decision.refusal is not None:
            raise decision.refusal
        return decision

    def _change(self, command: Command, transaction: Transaction) -> Changed:
        now = self._now = max(self._now, self._store.clock())
        view = transaction.load(command, now)
        decision = _decided(view, command, now, transaction)
        after = ThreadView(decision.thread, decision.in_flight)
        further = None if self._follow_up is None else self._follow_up(command.thread_id, decision)
        if further is None:
            return Changed((decision,), after if view.whole else None)
        ready = decision.upcoming.ready
        if ready is not None and ready.has_taken:  # what it has taken is not known from the decision
            after = transaction.load(further, now)
        followed = _decided(after, further, now, transaction)
        decision.upcoming = followed.upcoming  # what the thread waits for once both are committed
        after = ThreadView(followed.thread, followed.in_flight)
        return Changed((decision, followed), after if view.whole else None)

    def _committed(self, thread_id: str, changed: Changed) -> None:
        self._busy.committed(thread_id, changed.after)
        for decision in changed.decisions:
            for listener in self.listeners:
                try:
                    listener(thread_id, decision)
                except Exception:
                    log.exception("a listener failed on a commit", thread_id=thread_id)

    def _failed(self, thread_id: str, error: BaseException) -> None:
        """After a failure of the disk, what is stored is for the store to say."""
        self._busy.failed(thread_id, unchanged=isinstance(error, Refusal) and not isinstance(error, NotReady))


def _decided(view: ThreadView, command: Command, now: int, transaction: Transaction) -> Decision:
    decision = decide(view, command, now)
    if decision.writes:
        transaction.write(rows(command, decision, now))
    return decision
