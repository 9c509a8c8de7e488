"""The arbiter answers each command about a thread with a Decision. Nothing else decides what may happen.

`decide` is pure: it reads no clock, draws no id and writes nothing. It gets the thread as it is and the time, and says
what must be written; the store writes it, all or nothing. The same view, command and time give the same Decision.
"""

from collections.abc import Callable
from typing import Any, Final

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter import admission, editing, execution, stopping, threads, time
from doubletext_statemachine.decisions import Decision, Draft
from doubletext_statemachine.model import Thread, ThreadView
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import QueuePolicy

_DECIDE: Final[dict[type[commands.Command], Callable[[Draft, Any], None]]] = {
    commands.CreateThread: threads.create_thread,
    commands.UpdateThread: threads.update_thread,
    commands.DeleteThread: threads.delete_thread,
    commands.ExpireThread: threads.expire_thread,
    commands.UpdateState: threads.update_state,
    commands.AdmitRun: admission.admit_run,
    commands.ClaimRun: execution.claim_run,
    commands.CommitStep: execution.commit_step,
    commands.PublishOutput: execution.publish_output,
    commands.Heartbeat: execution.heartbeat,
    commands.SucceedRun: execution.succeed_run,
    commands.FailRun: execution.fail_run,
    commands.ReleaseRun: execution.release_run,
    commands.AcknowledgeStop: stopping.acknowledge_stop,
    commands.CancelRun: stopping.cancel_run,
    commands.CancelRuns: stopping.cancel_runs,
    commands.DeleteRun: stopping.delete_run,
    commands.UpdateRun: editing.update_run,
    commands.MoveRun: editing.move_run,
    commands.Tick: time.tick,
    commands.Recover: time.recover,
}


def decide(view: ThreadView, command: commands.Command, now: int) -> Decision:
    """Answer `command`. Raises the Refusal that says why not; nothing is to be written then."""
    draft = Draft(view, now)
    _DECIDE[type(command)](draft, command)
    return draft.finish()


def needs_all(command: commands.Command, thread: Thread) -> bool:
    """Whether `command` may look at every run in flight on `thread`, so that the view must list them all."""
    if isinstance(command, commands.AdmitRun):
        rules, policy = STRATEGIES[command.strategy_on(thread)], command.policy_on(thread)
        return rules.first or rules.joins or rules.steers or policy not in (None, QueuePolicy.KEEP)
    if isinstance(command, commands.CommitStep):
        return bool(command.absorb)
    return isinstance(command, (commands.DeleteThread, commands.CancelRuns, commands.UpdateRun, commands.MoveRun))


def needs_idle(command: commands.Command, thread: Thread | None) -> bool:
    """Whether `command` is refused as long as a run is in flight on `thread`, with no earlier call to be looked up."""
    if thread is None or not isinstance(command, commands.AdmitRun) or command.request_id is not None:
        return False
    return STRATEGIES[command.strategy_on(thread)].needs_idle
