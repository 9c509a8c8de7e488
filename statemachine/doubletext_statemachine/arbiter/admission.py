"""Admission of a run: what its strategy says, carried out in one Decision with everything the run supersedes."""

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import AssistantNotFound, RequestIdReused
from doubletext_statemachine.model import Run, Thread
from doubletext_statemachine.strategies import STRATEGIES
from doubletext_statemachine.words import Reason


def admit_run(draft: Draft, command: commands.AdmitRun) -> None:
    if (earlier := draft.view.repeated) is not None:  # mutant: request-id-first
        if earlier.digest != command.digest:  # mutant: request-id-digest
            raise RequestIdReused(request_id=command.request_id, thread_id=command.thread_id, run_id=earlier.run_id)
        draft.decision.repeated = earlier.run_id
        return
    if draft.thread is None and command.create_thread:
        draft.create(Thread(command.thread_id, draft.now, draft.now))
    thread = draft.existing(command.thread_id)
    if command.assistant is None:
        raise AssistantNotFound(assistant_id=command.assistant_id)
    draft.last_sequence += 1
    run = Run(
        run_id=command.run_id,
        thread_id=command.thread_id,
        sequence=draft.last_sequence,
        assistant=command.assistant,
        strategy=command.strategy_on(thread),
        create_time=draft.now,
        due_time=draft.now + command.delay,
        timeout=command.timeout if command.timeout is not None else command.assistant.run_timeout,
    )
    admitted = draft.admit(run, command.max_queued_runs)
    if (trigger := STRATEGIES[run.strategy].ends) is not None:
        draft.decision.superseded = draft.stop_all(trigger, Reason.SUPERSEDED, run.run_id)
    draft.decision.run = admitted
