"""Commands that stop a run from outside or delete its record; and when a thread waits no longer for a stopped attempt.

A stopped attempt's code may still be going. The thread starts no other run until the attempt acknowledges the stop, or
its time is over.
"""

from typing import Final

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import RunInFlight, RunNotFound
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.words import IN_FLIGHT, CancelAction, Reason, Trigger

_STOP: Final = {CancelAction.INTERRUPT: Trigger.INTERRUPT, CancelAction.ROLLBACK: Trigger.ROLL_BACK}


def acknowledge_stop(draft: Draft, command: commands.AcknowledgeStop) -> None:
    if is_awaited(draft, command):
        end_wait(draft)


def cancel_run(draft: Draft, command: commands.CancelRun) -> None:
    run = _named(draft, command)
    if isinstance(run, Tombstone) or run.status not in IN_FLIGHT:
        draft.decision.run = run
        return
    draft.stop(_STOP[command.action], run, Reason.CANCELLED)


def cancel_runs(draft: Draft, command: commands.CancelRuns) -> None:
    draft.existing(command.thread_id)
    runs = [run for run in draft.view.runs if not command.statuses or run.status in command.statuses]
    # The run with steps goes first: the others note the newest step as the state they left.
    for run in sorted(runs, key=lambda run: run.base_step is None):
        draft.decision.cancelled.append(draft.stop(_STOP[command.action], run, Reason.CANCELLED))
    draft.decision.cancelled.sort(key=lambda run: run.sequence)


def delete_run(draft: Draft, command: commands.DeleteRun) -> None:
    run = _named(draft, command)
    if isinstance(run, Tombstone):
        raise RunNotFound(command.run_id, command.thread_id)
    absorber = draft.view.absorber or run  # a merged run's input may yet become a step
    for each in (run, absorber):
        if each.status in IN_FLIGHT:
            assert each.status is not None
            raise RunInFlight(run_id=each.run_id, status=each.status.value)
    draft.decision.removes_run = run.run_id
    draft.decision.writes = True


def _named(draft: Draft, command: commands.RunCommand) -> Run | Tombstone:
    if draft.view.named is None:
        raise RunNotFound(command.run_id, command.thread_id)
    return draft.view.named


def is_awaited(draft: Draft, command: commands.LeaseCommand) -> bool:
    """Whether the command comes from the stopped attempt that the thread waits for."""
    stopping = draft.stopping if draft.thread else None
    if stopping is None or (stopping.run_id, stopping.epoch) != (command.run_id, command.epoch):
        return False
    return stopping.worker_id is not None or not command.by_worker


def give_up(draft: Draft) -> None:
    """Wait no longer for a stopped attempt that has not acknowledged: its time is over."""
    draft.decision.overdue = draft.stopping
    end_wait(draft)


def end_wait(draft: Draft) -> None:
    draft.stopping = None
    draft.decision.writes = True
