"""The bugs that are planted: what is changed in which file, and what goes wrong by it."""

from typing import Final, NamedTuple


class Plant(NamedTuple):
    """`edits`: texts, each of which stands once in the file, and what takes their place."""

    what: str
    file: str
    edits: tuple[tuple[str, str], ...]

    def planted(self, text: str) -> str:
        """The file's text with the bug in it. Raises ValueError when it is not the text that the bug is made for."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.file} has {text.count(old)} times {old!r}, which is to be replaced once")
            text = text.replace(old, new)
        return text


def plant(what: str, file: str, *edits: str) -> Plant:
    return Plant(what, file, tuple(zip(edits[::2], edits[1::2], strict=True)))


ARBITER: Final = "statemachine/doubletext_statemachine/arbiter.py"
DRAFT: Final = "statemachine/doubletext_statemachine/decisions.py"
LIFECYCLE: Final = "statemachine/doubletext_statemachine/lifecycle.py"
LINE: Final = "statemachine/doubletext_statemachine/queue.py"
LANE: Final = "server/doubletext_server/store/sqlite/lane.py"
WRITES: Final = "server/doubletext_server/store/sqlite/writes.py"

PLANTS: Final = (
    # Leases
    plant(
        "a lease's epoch is not looked at",
        LIFECYCLE,
        "if ask.epoch != ask.run.epoch:",
        "if False:",
    ),
    plant(
        "a lease is held at the instant at which it is over",
        LIFECYCLE,
        "if ask.run.lease_expires is not None and ask.run.lease_expires <= ask.now:",
        "if ask.run.lease_expires is not None and ask.run.lease_expires < ask.now:",
    ),
    plant(
        "a run gets one attempt more than it may have",
        LIFECYCLE,
        "return ask.run.attempt < ask.run.assistant.max_attempts",
        "return ask.run.attempt <= ask.run.assistant.max_attempts",
    ),
    plant(
        "handing a run back uses up an attempt",
        ARBITER,
        "attempt=run.attempt - 1, reason=Reason.RELEASED",
        "attempt=run.attempt, reason=Reason.RELEASED",
    ),
    plant(
        "a run that is taken over gets its input a second time",
        ARBITER,
        "    if run.base_step is None:\n        changes",
        "    if True:\n        changes",
    ),
    plant(
        "a worker may finish what the server itself executes",
        ARBITER,
        "if request.by_worker and run.worker_id is None:",
        "if False:",
    ),
    plant(
        "a heartbeat lets a stopped attempt go on past its grace",
        ARBITER,
        "until=min(stopping.grace_until, draft.now + request.lease)",
        "until=draft.now + request.lease",
    ),
    # Admission and supersession
    plant(
        "REJECT is no guard of an admission",
        LIFECYCLE,
        "(strategy_admits, queue_has_room)",
        "(queue_has_room,)",
    ),
    plant(
        "a queue takes one run more than it has room for",
        LIFECYCLE,
        "pending_count(ask.view) < _limit(ask)",
        "pending_count(ask.view) <= _limit(ask)",
    ),
    plant(
        "a rollback forgets the pending runs",
        DRAFT,
        "started_first = sorted(self.view.runs, key",
        "started_first = sorted((run for run in self.view.runs if run.attempt or trigger is Trigger.INTERRUPT), key",
    ),
    plant(
        "a rollback leaves the run's input in the state",
        DRAFT,
        "self.made.cut_to = self.last_step = run.base_step",
        "self.made.cut_to = self.last_step = run.base_step + 1",
    ),
    plant(
        "a successor does not wait for the attempt that it stopped",
        DRAFT,
        "        if run.status is RunStatus.RUNNING:\n            grace_until",
        "        if False:\n            grace_until",
    ),
    plant(
        "a successor starts a moment late: at the end of the grace it still waits",
        LINE,
        "if stopping is not None and now < stopping.until:",
        "if stopping is not None and now <= stopping.until:",
    ),
    plant(
        "runs that are due start in the order in which they became so",
        LINE,
        "max(run.due_time - now, 0)",
        "run.due_time",
    ),
    plant(
        "the strategy is applied before the request id is looked up",
        ARBITER,
        "if (earlier := draft.view.repeated) is not None:",
        "if (earlier := draft.view.repeated) is not None and request.strategy_on(draft.view.thread) not in STOP:",
    ),
    plant(
        "a request id may be used again for something else",
        ARBITER,
        "if earlier.digest != request.digest:",
        "if False:",
    ),
    plant(
        "a run is refused by a thread as it was before the change that is under way",
        "server/doubletext_server/engine/busy.py",
        "return None if thread_id in self._under_way else self._views.get(thread_id)",
        "return self._views.get(thread_id)",
    ),
    # What is on disk
    plant(
        "a superseded run is stopped in a commit of its own, before its successor is admitted",
        WRITES,
        "    if decision.cut_to is not None:\n        _cut(",
        '    if decision.superseded:\n        connection.execute("COMMIT")\n'
        '        connection.execute("BEGIN IMMEDIATE")\n    if decision.cut_to is not None:\n        _cut(',
    ),
    plant(
        "an answer leaves before its commit",
        LANE,
        '        connection.execute("BEGIN IMMEDIATE")',
        '        if connection.in_transaction:\n            connection.execute("COMMIT")\n'
        '        connection.execute("BEGIN IMMEDIATE")',
        '        connection.execute("COMMIT")\n    except BaseException:',
        "    except BaseException:",
    ),
    plant(
        "a commit is not synced to the disk",
        "server/doubletext_server/store/sqlite/schema.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = OFF"',
    ),
    plant(
        "a change that fails takes those with it that share its commit",
        LANE,
        "return [write_batch(connection, [work])[0] for work in batch]",
        "return [_as_refusal(error) for _ in batch]",
    ),
    plant(
        "a rolled-back run's outputs stay in the file",
        WRITES,
        "json_array(json_extract(body, '$[0]'), NULL)",
        "body",
    ),
    plant(
        "a restart does not give up the runs that the server had in execution",
        ARBITER,
        "    if run is not None and run.worker_id is None:\n        _lose(draft, run)",
        "    if False:\n        _lose(draft, run)",
    ),
    # Those who wait
    plant(
        "a commit is not told when its caller is gone",
        LANE,
        "    if tell is not None:\n        try:",
        "    if tell is not None and not future.done():\n        try:",
    ),
    plant(
        "a run that was offered to a claimer who hung up is offered to nobody else",
        "server/doubletext_server/engine/dispatcher.py",
        "                self.retry(claimer.result(), 0)",
        "                pass",
    ),
    plant(
        "a join answers with the newest state, whatever came after its run",
        "server/doubletext_server/store/sqlite/store.py",
        "                at = found.run.left_state_at",
        "                at = None",
    ),
    plant(
        "what a watcher reads at the end of the log is not read on from there",
        "server/doubletext_server/engine/eventlog.py",
        "after = max(after, head) if page is None else page.records[-1].event.sequence",
        "after = max(after, head)",
    ),
)
