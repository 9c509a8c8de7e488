"""What follows from time alone, and from the end of the server's process: timeouts, lost leases, waits that are over.

The time is an argument. Nothing here looks at a clock or sets a timer.
"""

from typing import Any

from doubletext_statemachine import commands
from doubletext_statemachine.arbiter.stopping import end_wait, give_up
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.lifecycle import Move, lease_is_over, may_try_again, time_is_up
from doubletext_statemachine.model import Run
from doubletext_statemachine.queue import running_run
from doubletext_statemachine.words import Trigger


def tick(draft: Draft, command: commands.Tick) -> None:
    if draft.thread is not None and draft.stopping is not None and draft.stopping.until <= draft.now:
        give_up(draft)
    draft.expire()
    run = running_run(draft.view.runs)
    if run is None:
        return
    move = Move(run, draft.view, draft.now)
    if time_is_up(move):
        draft.move(Trigger.TIME_OUT, run)
    elif run.worker_id is not None and lease_is_over(move):
        _lose(draft, run, command.spared)


def recover(draft: Draft, command: commands.Recover) -> None:
    if draft.thread is None:
        return
    if draft.stopping is not None and draft.stopping.worker_id is None:
        end_wait(draft)
    run = running_run(draft.view.runs)
    if run is not None and run.worker_id is None:  # mutant: restart
        _lose(draft, run, command.spared)


def _lose(draft: Draft, run: Run, spared: str | None) -> None:
    if run.run_id == spared:
        draft.move(Trigger.SPARE, run)
        return
    error: dict[str, Any] = {}
    if not may_try_again(Move(run, draft.view, draft.now)):
        message = f"started {run.attempt} times, and each time its executor died or fell silent"
        error = {"error_type": "MaxAttempts", "error_message": message}
    draft.move(Trigger.LOSE, run, **error)
