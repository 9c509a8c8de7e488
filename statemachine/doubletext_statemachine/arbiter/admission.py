"""Admission of a run: what its strategy and its queue policy say, in one Decision with everything that they end."""

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import AssistantNotFound, InvalidField, RequestIdReused, RunChanged
from doubletext_statemachine.model import RANKS, Run, Thread
from doubletext_statemachine.queue import rank_of_next_steer, started_run, waiting_inputs, waiting_runs
from doubletext_statemachine.strategies import QUEUE_POLICIES, STRATEGIES, QueueRules
from doubletext_statemachine.words import QueuePolicy, Reason, Strategy, Trigger

_NO_POLICY = QueueRules()


def admit_run(draft: Draft, command: commands.AdmitRun) -> None:
    if (earlier := draft.view.repeated) is not None:  # mutant: request-id-first
        if earlier.digest != command.digest:  # mutant: request-id-digest
            raise RequestIdReused(request_id=command.request_id, thread_id=command.thread_id, run_id=earlier.run_id)
        draft.decision.repeated, draft.decision.joins = earlier.run_id, earlier.joined
        return
    if draft.thread is None and command.create_thread:
        draft.create(Thread(command.thread_id, draft.now, draft.now))
    thread = draft.existing(command.thread_id)
    if command.assistant is None:
        raise AssistantNotFound(assistant_id=command.assistant_id)
    started = started_run(draft.view.runs)
    if command.expected_run_id not in (None, started and started.run_id):  # mutant: expected-run
        active = started.run_id if started else ""
        raise RunChanged(command.thread_id, str(command.expected_run_id), active)
    strategy, policy = command.strategy_on(thread), command.policy_on(thread)
    _check(command, strategy, policy)
    rules = STRATEGIES[strategy]
    if rules.joins and draft.view.runs:
        draft.decision.run = max(draft.view.runs, key=lambda run: run.sequence)
        draft.decision.joins = True
        draft.decision.writes = command.request_id is not None
        return
    queue_rules = _NO_POLICY if policy is None else QUEUE_POLICIES[policy]
    waiting = waiting_runs(draft.view.runs)
    takes = [run for run in waiting if queue_rules.merges and _may_be_taken(run, command, draft.now)]
    taken_ids = {run.run_id for run in takes}
    stays = [] if queue_rules.ends else [run for run in waiting if run.run_id not in taken_ids]
    draft.last_sequence += 1
    run = _new(draft, command, strategy, policy, takes)
    if rules.first and stays:  # mutant: first-in-line
        run = run._replace(rank=min(other.rank for other in stays) - RANKS)
    if rules.steers and started is not None and started.assistant.assistant_id == command.assistant_id:
        run = run._replace(rank=rank_of_next_steer(stays, run.sequence))  # mutant: steer-first
    queued = waiting_inputs(stays) + draft.view.unlisted + draft.view.unlisted_merges + 1 + run.merges
    admitted = draft.admit(run, command.max_queued_runs, queued)
    if rules.ends is not None and started is not None:
        draft.decision.superseded.append(draft.stop(rules.ends, started, Reason.SUPERSEDED, run.run_id))
    if queue_rules.ends:  # mutant: stop-all
        ended = [draft.stop(rules.ends_queue, each, Reason.SUPERSEDED, run.run_id) for each in waiting]
        draft.decision.superseded += ended
    for other in takes:  # mutant: merge-all
        draft.move(Trigger.MERGE, other, merged_into=run.run_id)
    draft.decision.superseded.sort(key=lambda run: run.sequence)
    taken = [each for other in takes for each in (*draft.view.merged.get(other.run_id, ()), other)]
    draft.decision.merged = tuple(each.run_id for each in sorted(taken, key=lambda run: run.sequence))
    draft.decision.run = admitted


def _check(command: commands.AdmitRun, strategy: Strategy, policy: QueuePolicy | None) -> None:
    """Raise InvalidField for what the call asks of a strategy that does not have it."""
    if command.queue_policy is None and command.debounce is None:
        return
    wrong = []
    if (asked := command.queue_policy) is not None and asked not in STRATEGIES[strategy].policies:
        wrong.append(("queue_policy", f"is {asked.name}, and {strategy.name} has none; leave it out"))
    elif command.debounce is not None and (policy is None or not QUEUE_POLICIES[policy].merges):
        merging = next(name.name for name, rules in QUEUE_POLICIES.items() if rules.merges)
        what = "no queue policy" if policy is None else f"queue_policy {policy.name}"
        wrong.append(("debounce", f"waits for messages to merge, and {strategy.name} has {what} here; pass {merging}"))
    if wrong:
        raise InvalidField(wrong)


def _may_be_taken(run: Run, command: commands.AdmitRun, now: int) -> bool:
    """Of the same assistant, and not one that was to wait for its own sake."""
    return run.assistant.assistant_id == command.assistant_id and (run.debounced or run.due_time <= now)


def _new(
    draft: Draft, command: commands.AdmitRun, strategy: Strategy, policy: QueuePolicy | None, takes: list[Run]
) -> Run:
    assert command.assistant is not None
    now = draft.now
    oldest = min((run.oldest_time or run.create_time for run in takes), default=now)
    due_time = now + command.delay
    if command.debounce is not None:
        due_time = now + command.debounce
        if command.max_wait is not None:
            due_time = max(now, min(due_time, oldest + command.max_wait))
    return Run(
        run_id=command.run_id,
        thread_id=command.thread_id,
        sequence=draft.last_sequence,
        assistant=command.assistant,
        strategy=strategy,
        create_time=now,
        due_time=due_time,
        timeout=command.timeout if command.timeout is not None else command.assistant.run_timeout,
        queue_policy=policy,
        rank=draft.last_sequence * RANKS,
        merges=sum(1 + run.merges for run in takes),
        input_bytes=len(command.input.encode(errors="surrogatepass")) + sum(run.input_bytes for run in takes),
        oldest_time=oldest if takes else 0,
        debounced=command.debounce is not None,
        expire_time=None if command.start_within is None else due_time + command.start_within,
    )
