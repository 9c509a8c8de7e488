"""Commands of whoever executes a run: claim it, commit steps, renew the lease, end it or hand it back.

Each command but the claim must come from the attempt that holds the run's lease. Everybody else gets LeaseLost, and
nothing is written.
"""

from dataclasses import replace
from typing import Any

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter.stopping import end_wait, give_up, is_awaited
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import InvalidField, LeaseLost
from doubletext_statemachine.lifecycle import Move, why_not_held
from doubletext_statemachine.model import Run, Tombstone
from doubletext_statemachine.queue import on_offer, upcoming
from doubletext_statemachine.words import LeaseCause, Reason, RunStatus, Trigger


def claim_run(draft: Draft, command: commands.ClaimRun) -> None:
    draft.expire()
    run = upcoming(draft.view, draft.now).ready
    if run is None or run.assistant.graph not in command.graphs:
        return
    merged = draft.view.merged.get(run.run_id, ())
    changes: dict[str, Any] = {}
    if run.base_step is None:  # mutant: input-once
        changes = {"base_step": draft.last_step, "last_step": draft.last_step + len(merged) + 1}
    if draft.stopping is not None:
        give_up(draft)
    draft.move(
        Trigger.CLAIM,
        run,
        worker_id=command.worker_id,
        lease_expires=None if command.lease is None else draft.now + command.lease,
        **changes,
    )
    if changes:
        for each in (*merged, run):
            draft.step(run.run_id, None, run.assistant.reducers, input_of=each.run_id)


def commit_step(draft: Draft, command: commands.CommitStep) -> None:
    run = _held(draft, command)
    following = draft.last_step + 1
    if command.expected_step not in (None, following):
        earlier = draft.view.committed
        if earlier is None or (earlier.update, earlier.absorb) != (command.update, command.absorb):
            problem = (
                f"is {command.expected_step}; the run's next step is {following}, and an earlier number is "
                "accepted only for the very step that has it"
            )
            raise InvalidField([("expected_step", problem)])
        draft.decision.run, draft.decision.step = run, earlier.last_step
        draft.decision.absorbed = earlier.absorbed
        return
    offered = on_offer(draft.view.runs, run, draft.now) if command.absorb else []
    takes = [other for other in offered if other.run_id in command.absorb]
    if command.update is not None or takes:
        run = _with_steps(draft, run, command, takes)
    draft.decision.run, draft.decision.step = run, draft.last_step
    draft.decision.absorbed = tuple(other.run_id for other in takes)


def _with_steps(draft: Draft, run: Run, command: commands.CommitStep, takes: list[Run]) -> Run:
    """The run with the update and the inputs that it takes as its steps, in this order."""
    absorb, reducers = (command.absorb, len(takes)), run.assistant.reducers
    if command.update is not None:
        draft.step(run.run_id, command.update, reducers, None, *absorb)
        absorb = ((), 0)
    for other in takes:
        draft.step(run.run_id, None, reducers, other.run_id, *absorb)
        absorb = ((), 0)
    for other in sorted(takes, key=lambda other: other.sequence):  # mutant: absorb-once
        draft.move(Trigger.MERGE, other, merged_into=run.run_id)
    run = run._replace(last_step=draft.last_step, absorbed=run.absorbed + len(takes))
    draft.runs[run.run_id] = run
    draft.decision.moved.append(run)
    return run


def publish_output(draft: Draft, command: commands.PublishOutput) -> None:
    run = _held(draft, command)
    for output in command.outputs:
        draft.event(run.run_id, output)


def heartbeat(draft: Draft, command: commands.Heartbeat) -> None:
    if is_awaited(draft, command) and (stopping := draft.stopping) is not None and draft.now < stopping.until:
        draft.stopping = replace(
            stopping, until=min(stopping.grace_until, draft.now + command.lease)
        )  # mutant: grace-end
        draft.decision.run = draft.view.named
        draft.decision.writes = True
        return
    draft.renew(_held(draft, command), command.lease)


def succeed_run(draft: Draft, command: commands.SucceedRun) -> None:
    if _is_settled(draft, command):
        return
    run = _held(draft, command)
    if command.update is not None:
        run = draft.step_of(run, command.update)
    draft.move(Trigger.SUCCEED, run, lease=command.epoch, outcome_digest=command.digest)


def fail_run(draft: Draft, command: commands.FailRun) -> None:
    if _is_settled(draft, command):
        return
    draft.move(
        Trigger.FAIL,
        _held(draft, command),
        lease=command.epoch,
        error_type=command.error_type,
        error_message=command.error_message,
        outcome_digest=command.digest,
    )


def _is_settled(draft: Draft, command: commands.SucceedRun | commands.FailRun) -> bool:
    """Whether an outcome leaves nothing to decide: it repeats the outcome that the run has, or it comes from a stopped
    attempt. The latter is refused, and still ends the thread's wait for that attempt."""
    named = draft.view.named
    repeats = isinstance(named, Run) and (named.epoch, named.outcome_digest) == (command.epoch, command.digest)
    if repeats and command.digest is not None:
        draft.decision.run = named
        return True
    if not is_awaited(draft, command):
        return False
    end_wait(draft)
    draft.decision.refusal = _lease_lost(command, *_end_of(named))
    return True


def release_run(draft: Draft, command: commands.ReleaseRun) -> None:
    if is_awaited(draft, command):
        end_wait(draft)
        return
    pending = draft.runs.get(command.run_id)
    if pending is not None and (pending.reason, pending.epoch) == (Reason.RELEASED, command.epoch):
        return
    draft.move(Trigger.RELEASE, _held(draft, command), lease=command.epoch)


def _held(draft: Draft, command: commands.LeaseCommand) -> Run:
    """The running run that the command's lease is for. Raises LeaseLost when that lease is over, with the cause."""
    run = draft.runs.get(command.run_id)
    if run is None or run.status is not RunStatus.RUNNING:
        raise _lease_lost(command, *_end_of(draft.view.named))
    if (cause := why_not_held(Move(run, draft.view, draft.now, command.epoch))) is not None:
        raise _lease_lost(command, cause, run.epoch)
    if command.by_worker and run.worker_id is None:  # mutant: workers-own
        raise _lease_lost(command, LeaseCause.FOREIGN, run.epoch)
    return run


def _lease_lost(command: commands.LeaseCommand, cause: LeaseCause, current_epoch: int) -> LeaseLost:
    return LeaseLost(run_id=command.run_id, epoch=command.epoch, current_epoch=current_epoch, cause=cause)


def _end_of(named: Run | Tombstone | None) -> tuple[LeaseCause, int]:
    """The cause by which a lease of the named run is lost, and the run's current epoch (0: the run has no record)."""
    if named is None:
        return LeaseCause.DELETED, 0
    if isinstance(named, Tombstone):
        return LeaseCause[named.reason.name], 0
    assert named.status is not None
    return LeaseCause[(named.reason or named.status).name], named.epoch
