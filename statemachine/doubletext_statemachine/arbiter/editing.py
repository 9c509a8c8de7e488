"""Commands that edit the queue: a run that waits is changed, or gets another place in the line."""

from typing import Any

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Draft
from doubletext_statemachine.errors import InvalidField, QueueFull, RevisionChanged, RunNotFound, RunStarted
from doubletext_statemachine.model import LARGEST_MERGED_INPUT, RANKS, Run
from doubletext_statemachine.queue import has_expired, waiting_runs
from doubletext_statemachine.words import Place


def update_run(draft: Draft, command: commands.UpdateRun) -> None:
    run = _waiting(draft, command)
    changes: dict[str, Any] = {}
    if command.timeout is not None:
        changes["timeout"] = command.timeout
    if command.delay is not None:
        due_time = draft.now + command.delay
        changes |= {"due_time": due_time, "debounced": False}
        if run.expire_time is not None:
            changes["expire_time"] = due_time + run.expire_time - run.due_time
    if command.input is not None:
        size = run.input_bytes - draft.view.own_bytes + len(command.input.encode(errors="surrogatepass"))
        if run.merges and size > LARGEST_MERGED_INPUT:
            raise QueueFull(thread_id=run.thread_id, queued_runs=run.merges, max_queued_runs=run.merges)
        changes["input_bytes"] = size
    draft.edit(run, **changes)


def move_run(draft: Draft, command: commands.MoveRun) -> None:
    run = _waiting(draft, command)
    line = sorted(waiting_runs(draft.view.runs), key=lambda other: (other.rank, other.sequence))
    line.remove(run)
    place = _place(draft, command, line)
    before, after = line[place - 1] if place else None, line[place] if place < len(line) else None
    rank = _rank(before, after, run, draft.last_sequence)
    if rank is None:
        rank = _spread(draft, [*line[:place], run, *line[place:]], run)
    draft.edit(run, rank=rank)


def _waiting(draft: Draft, command: commands.UpdateRun | commands.MoveRun) -> Run:
    run = draft.view.named
    if not isinstance(run, Run):
        raise RunNotFound(command.run_id, command.thread_id)
    assert run.status is not None
    if not run.waits or has_expired(run, draft.now):  # mutant: edits-waiting
        raise RunStarted(run_id=run.run_id, status=run.status.value)
    if command.expected_revision not in (None, run.revision):  # mutant: edits-revision
        raise RevisionChanged(run_id=run.run_id, revision=run.revision, expected_revision=command.expected_revision)
    return run


def _place(draft: Draft, command: commands.MoveRun, line: list[Run]) -> int:
    """How many of the line go before the run."""
    if command.place is Place.FIRST:
        return 0
    if command.place is Place.LAST:
        return len(line)
    if command.other == command.run_id:
        raise InvalidField([(f"{command.place.value}_run_id", "is the run itself; name another one that waits")])
    ids = [other.run_id for other in line]
    if command.other not in ids:
        other = draft.runs.get(command.other or "")
        if other is None or other.status is None:
            raise RunNotFound(command.other or "", command.thread_id)
        raise RunStarted(run_id=other.run_id, status=other.status.value)
    return ids.index(command.other) + (command.place is Place.AFTER)


def _rank(before: Run | None, after: Run | None, run: Run, last_sequence: int) -> int | None:
    """A rank between the two, or at an end of the line; None where there is no room for it."""
    if before is None:
        return run.rank if after is None else after.rank - RANKS
    if after is None:  # behind all that were admitted so far, and before all that will be
        rank = max(before.rank, last_sequence * RANKS) + RANKS // 1024
        return rank if rank < (last_sequence + 1) * RANKS else None
    rank = (before.rank + after.rank) // 2
    return rank if before.rank < rank else None


def _spread(draft: Draft, line: list[Run], run: Run) -> int:
    """Give the whole line new ranks, with room between them. Returns that of the run."""
    first = draft.last_sequence - len(line) + 1
    ranks = {other.run_id: (first + place) * RANKS for place, other in enumerate(line)}
    for other in line:
        if other is not run and other.rank != ranks[other.run_id]:
            draft.replace(other._replace(rank=ranks[other.run_id]))
    return ranks[run.run_id]
