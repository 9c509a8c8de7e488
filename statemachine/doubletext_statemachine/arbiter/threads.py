"""Commands about a thread as a whole: its row, its deletion, and updates of its state by hand."""

from typing import Any

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import ThreadExists, ThreadInFlight
from doubletext_statemachine.model import Thread, ThreadChanged
from doubletext_statemachine.queue import busy_facts
from doubletext_statemachine.words import Reason, Trigger


def create_thread(draft: Draft, command: commands.CreateThread) -> None:
    if draft.thread is not None:
        raise ThreadExists(thread_id=command.thread_id)
    draft.create(
        Thread(
            command.thread_id,
            draft.now,
            draft.now,
            command.metadata,
            command.default_strategy,
            command.max_queued_runs,
            default_queue_policy=command.default_queue_policy,
            on_failure=command.on_failure,
        )
    )


def update_thread(draft: Draft, command: commands.UpdateThread) -> None:
    changes: dict[str, Any] = dict(command.changes)
    before = draft.existing(command.thread_id)
    draft.thread = before._replace(**changes)
    if draft.thread.held is not before.held:
        draft.event(None, ThreadChanged(draft.thread.held))
    draft.decision.writes = True


def delete_thread(draft: Draft, command: commands.DeleteThread) -> None:
    draft.existing(command.thread_id)
    # The run with steps goes first: the others note the newest step as the state they left.
    for run in sorted(draft.view.runs, key=lambda run: run.base_step is None):
        draft.stop(Trigger.ROLL_BACK, run, Reason.THREAD_DELETED)
    draft.decision.deletes_thread = draft.decision.writes = True


def expire_thread(draft: Draft, command: commands.ExpireThread) -> None:
    thread = draft.thread
    if thread is None or draft.view.runs or thread.stopping is not None or thread.update_time > command.idle_since:
        return
    draft.decision.deletes_thread = draft.decision.writes = True


def update_state(draft: Draft, command: commands.UpdateState) -> None:
    draft.existing(command.thread_id)
    if draft.view.runs:
        raise ThreadInFlight(**busy_facts(draft.view, draft.now))
    draft.step(None, command.update, command.reducers)
