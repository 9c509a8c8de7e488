"""The arbiter: answers each request about a thread with a Decision, and is the only one to.

`decide` is pure. It gets the thread as it is and the time, and says what is to be written; the store writes it, all or
nothing. The same view, request and time give the same Decision.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision, Draft
from doubletext_statemachine.errors import (
    AssistantNotFound,
    InvalidField,
    LeaseLost,
    RequestIdReused,
    RunInFlight,
    RunNotFound,
    ThreadExists,
    ThreadInFlight,
)
from doubletext_statemachine.lifecycle import Ask, Trigger, lease_is_over, may_try_again, time_is_up, why_not_held
from doubletext_statemachine.model import Run, Thread, ThreadView, Tombstone
from doubletext_statemachine.queue import busy_facts, running_run, upcoming
from doubletext_statemachine.words import IN_FLIGHT, CancelAction, LeaseCause, Reason, RunStatus, Strategy

STOP: Final = {
    Strategy.INTERRUPT: Trigger.INTERRUPT,
    Strategy.ROLLBACK: Trigger.ROLL_BACK,
    CancelAction.INTERRUPT: Trigger.INTERRUPT,
    CancelAction.ROLLBACK: Trigger.ROLL_BACK,
}
"""How the runs in flight are stopped; a strategy that is not here stops none."""


def decide(view: ThreadView, request: commands.Command, now: int) -> Decision:
    """Answer `request`, or raise the Refusal that says why not; nothing is to be written then."""
    draft = Draft(view, now)
    _DECIDE[type(request)](draft, request)
    return draft.decision()


def stops_all(request: commands.Command, thread: Thread) -> bool:
    """Whether `request` may stop every run in flight on `thread`, so that the view must have them all."""
    if isinstance(request, commands.AdmitRun):
        return request.strategy_on(thread) in STOP
    return isinstance(request, commands.DeleteThread)


def needs_idle(request: commands.Command, thread: Thread | None) -> bool:
    """Whether `request` is refused as long as a run is in flight on `thread`, with no earlier call to be looked up."""
    if thread is None or not isinstance(request, commands.AdmitRun) or request.request_id is not None:
        return False
    return request.strategy_on(thread) is Strategy.REJECT


# Threads


def _create_thread(draft: Draft, request: commands.CreateThread) -> None:
    if draft.thread is not None:
        raise ThreadExists(thread_id=request.thread_id)
    draft.create(
        Thread(
            request.thread_id,
            draft.now,
            draft.now,
            request.metadata,
            request.default_strategy,
            request.max_queued_runs,
        )
    )


def _update_thread(draft: Draft, request: commands.UpdateThread) -> None:
    changes: dict[str, Any] = dict(request.changes)
    draft.thread = draft.existing(request.thread_id)._replace(**changes)
    draft.made.writes = True


def _delete_thread(draft: Draft, request: commands.DeleteThread) -> None:
    draft.existing(request.thread_id)
    draft.stop_all(Trigger.ROLL_BACK, Reason.THREAD_DELETED)
    draft.made.deletes_thread = draft.made.writes = True


def _expire_thread(draft: Draft, request: commands.ExpireThread) -> None:
    thread = draft.thread
    if thread is None or draft.view.runs or thread.stopping is not None or thread.update_time > request.idle_since:
        return
    draft.made.deletes_thread = draft.made.writes = True


def _update_state(draft: Draft, request: commands.UpdateState) -> None:
    draft.existing(request.thread_id)
    if draft.view.runs:
        raise ThreadInFlight(**busy_facts(draft.view, draft.now))
    draft.step(None, request.update, request.reducers)


# Admission


def _admit(draft: Draft, request: commands.AdmitRun) -> None:
    if (earlier := draft.view.repeated) is not None:
        if earlier.digest != request.digest:
            raise RequestIdReused(request_id=request.request_id, thread_id=request.thread_id, run_id=earlier.run_id)
        draft.made.repeated = earlier.run_id
        return
    if draft.thread is None and request.create_thread:
        draft.create(Thread(request.thread_id, draft.now, draft.now))
    thread = draft.existing(request.thread_id)
    if request.assistant is None:
        raise AssistantNotFound(assistant_id=request.assistant_id)
    draft.last_sequence += 1
    run = Run(
        run_id=request.run_id,
        thread_id=request.thread_id,
        sequence=draft.last_sequence,
        assistant=request.assistant,
        strategy=request.strategy_on(thread),
        create_time=draft.now,
        due_time=draft.now + request.delay,
        timeout=request.timeout if request.timeout is not None else request.assistant.run_timeout,
    )
    admitted = draft.admit(run, request.max_queued_runs)
    if (trigger := STOP.get(run.strategy)) is not None:
        draft.made.superseded = draft.stop_all(trigger, Reason.SUPERSEDED, run.run_id)
    draft.made.run = admitted


# Execution


def _claim(draft: Draft, request: commands.ClaimRun) -> None:
    run = upcoming(draft.view, draft.now).ready
    if run is None or run.assistant.graph not in request.graphs:
        return
    changes: dict[str, Any] = {}
    if run.base_step is None:
        changes = {"base_step": draft.last_step, "last_step": draft.last_step + 1}
    if draft.stopping is not None:
        _give_up(draft)
    draft.move(
        Trigger.CLAIM,
        run,
        attempt=run.attempt + 1,
        epoch=run.epoch + 1,
        start_time=draft.now,
        reason=None,
        worker_id=request.worker_id,
        lease_expires=None if request.lease is None else draft.now + request.lease,
        **changes,
    )
    if changes:
        draft.step(run.run_id, None, run.assistant.reducers)


def _commit_step(draft: Draft, request: commands.CommitStep) -> None:
    run = _held(draft, request)
    following = draft.last_step + 1
    if request.expected_step not in (None, following):
        if draft.view.made != request.update:
            problem = (
                f"is {request.expected_step}; the run's next step is {following}, and an earlier number is "
                "accepted only for the very step that has it"
            )
            raise InvalidField([("expected_step", problem)])
        draft.made.run, draft.made.step = run, request.expected_step
        return
    stepped = draft.step_of(run, request.update)
    draft.made.moved.append(stepped)
    draft.made.run, draft.made.step = stepped, following


def _publish_output(draft: Draft, request: commands.PublishOutput) -> None:
    run = _held(draft, request)
    for output in request.outputs:
        draft.event(run.run_id, output)


def _heartbeat(draft: Draft, request: commands.Heartbeat) -> None:
    if _awaits(draft, request) and (stopping := draft.stopping) is not None and draft.now < stopping.until:
        draft.stopping = replace(stopping, until=min(stopping.grace_until, draft.now + request.lease))
        draft.made.run = draft.view.named
        draft.made.writes = True
        return
    draft.renew(_held(draft, request), request.lease)


def _succeed(draft: Draft, request: commands.SucceedRun) -> None:
    if _is_settled(draft, request):
        return
    run = _held(draft, request)
    if request.update is not None:
        run = draft.step_of(run, request.update)
    draft.move(Trigger.SUCCEED, run, lease=request.epoch, outcome_digest=request.digest)


def _fail(draft: Draft, request: commands.FailRun) -> None:
    if _is_settled(draft, request):
        return
    draft.move(
        Trigger.FAIL,
        _held(draft, request),
        lease=request.epoch,
        error_type=request.error_type,
        error_message=request.error_message,
        outcome_digest=request.digest,
    )


def _is_settled(draft: Draft, request: commands.SucceedRun | commands.FailRun) -> bool:
    """Whether there is nothing left to decide about an outcome: it repeats the one that the run has, or comes too late
    for one, and is the stopped attempt's last word then."""
    named = draft.view.named
    repeats = isinstance(named, Run) and (named.epoch, named.outcome_digest) == (request.epoch, request.digest)
    if repeats and request.digest is not None:
        draft.made.run = named
        return True
    if not _awaits(draft, request):
        return False
    _end_stopping(draft)
    draft.made.refusal = _lease_lost(request, *_end_of(named))
    return True


def _release(draft: Draft, request: commands.ReleaseRun) -> None:
    if _awaits(draft, request):
        _end_stopping(draft)
        return
    waiting = draft.runs.get(request.run_id)
    if waiting is not None and (waiting.reason, waiting.epoch) == (Reason.RELEASED, request.epoch):
        return
    run = _held(draft, request)
    draft.move(Trigger.RELEASE, run, lease=request.epoch, attempt=run.attempt - 1, reason=Reason.RELEASED)


def _held(draft: Draft, request: commands.LeaseCommand) -> Run:
    """The running run that the request's lease is for. Raises LeaseLost when it is over, for whatever cause."""
    run = draft.runs.get(request.run_id)
    if run is None or run.status is not RunStatus.RUNNING:
        raise _lease_lost(request, *_end_of(draft.view.named))
    if (cause := why_not_held(Ask(run, draft.view, draft.now, request.epoch))) is not None:
        raise _lease_lost(request, cause, run.epoch)
    if request.by_worker and run.worker_id is None:
        raise _lease_lost(request, LeaseCause.FOREIGN, run.epoch)
    return run


def _lease_lost(request: commands.LeaseCommand, cause: LeaseCause, current_epoch: int) -> LeaseLost:
    return LeaseLost(run_id=request.run_id, epoch=request.epoch, current_epoch=current_epoch, cause=cause)


def _end_of(named: Run | Tombstone | None) -> tuple[LeaseCause, int]:
    if named is None:
        return LeaseCause.DELETED, 0
    if isinstance(named, Tombstone):
        return LeaseCause[named.reason.name], 0
    assert named.status is not None
    return LeaseCause[(named.reason or named.status).name], named.epoch


def _acknowledge(draft: Draft, request: commands.AcknowledgeStop) -> None:
    if _awaits(draft, request):
        _end_stopping(draft)


def _awaits(draft: Draft, request: commands.LeaseCommand) -> bool:
    """Whether the request's attempt was stopped, and the thread waits for its last word."""
    stopping = draft.stopping if draft.thread else None
    if stopping is None or (stopping.run_id, stopping.epoch) != (request.run_id, request.epoch):
        return False
    return stopping.worker_id is not None or not request.by_worker


def _give_up(draft: Draft) -> None:
    """Wait no longer for a stopped attempt's last word: its time is up."""
    draft.made.overdue = draft.stopping
    _end_stopping(draft)


def _end_stopping(draft: Draft) -> None:
    draft.stopping = None
    draft.made.writes = True


# Stopping


def _cancel(draft: Draft, request: commands.CancelRun) -> None:
    run = _named(draft, request)
    if isinstance(run, Tombstone) or run.status not in IN_FLIGHT:
        draft.made.run = run
        return
    draft.stop(STOP[request.action], run, Reason.CANCELLED)


def _delete_run(draft: Draft, request: commands.DeleteRun) -> None:
    run = _named(draft, request)
    if isinstance(run, Tombstone):
        raise RunNotFound(request.run_id, request.thread_id)
    if run.status in IN_FLIGHT:
        assert run.status is not None
        raise RunInFlight(run_id=run.run_id, status=run.status.value)
    draft.made.removes_run = run.run_id
    draft.made.writes = True


def _named(draft: Draft, request: commands.RunCommand) -> Run | Tombstone:
    if draft.view.named is None:
        raise RunNotFound(request.run_id, request.thread_id)
    return draft.view.named


# Time


def _tick(draft: Draft, request: commands.Tick) -> None:
    if draft.thread is not None and draft.stopping is not None and draft.stopping.until <= draft.now:
        _give_up(draft)
    run = running_run(draft.view.runs)
    if run is None:
        return
    asked = Ask(run, draft.view, draft.now)
    if time_is_up(asked):
        draft.stop(Trigger.TIME_OUT, run, Reason.TIMEOUT)
    elif run.worker_id is not None and lease_is_over(asked):
        _lose(draft, run)


def _recover(draft: Draft, request: commands.Recover) -> None:
    if draft.thread is None:
        return
    if draft.stopping is not None and draft.stopping.worker_id is None:
        _end_stopping(draft)
    run = running_run(draft.view.runs)
    if run is not None and run.worker_id is None:
        _lose(draft, run)


def _lose(draft: Draft, run: Run) -> None:
    if may_try_again(Ask(run, draft.view, draft.now)):
        draft.move(Trigger.LOSE, run, reason=Reason.LEASE_LOST)
        return
    draft.move(
        Trigger.LOSE,
        run,
        reason=Reason.MAX_ATTEMPTS,
        error_type="MaxAttempts",
        error_message=f"started {run.attempt} times, and each time its executor died or fell silent",
    )


_DECIDE: Final[dict[type[commands.Command], Callable[[Draft, Any], None]]] = {
    commands.CreateThread: _create_thread,
    commands.UpdateThread: _update_thread,
    commands.DeleteThread: _delete_thread,
    commands.ExpireThread: _expire_thread,
    commands.UpdateState: _update_state,
    commands.AdmitRun: _admit,
    commands.ClaimRun: _claim,
    commands.CommitStep: _commit_step,
    commands.PublishOutput: _publish_output,
    commands.Heartbeat: _heartbeat,
    commands.SucceedRun: _succeed,
    commands.FailRun: _fail,
    commands.ReleaseRun: _release,
    commands.AcknowledgeStop: _acknowledge,
    commands.CancelRun: _cancel,
    commands.DeleteRun: _delete_run,
    commands.Tick: _tick,
    commands.Recover: _recover,
}
