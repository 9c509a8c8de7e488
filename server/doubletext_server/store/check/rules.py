"""Rules about rows, and about rows beside each other. Each rule is a query that finds the rows that break it.

A query answers with (where, what). It scans one table once, and looks up rows of other tables by their keys, so it
holds nothing in memory. It reads a table and not the table's indexes (NOT INDEXED), because a damaged index would agree
with itself.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from doubletext_server.store.check.report import Kind
from doubletext_statemachine.strategies import QUEUE_POLICIES, STRATEGIES
from doubletext_statemachine.words import Reason, RunStatus, Trigger


class Rule(NamedTuple):
    kind: Kind
    query: str


_RUN: Final = "'thread ' || r.thread_id || ', run ' || r.run_id"
_ELSEWHERE: Final = (
    "coalesce(h.thread_id, g.thread_id) <> r.thread_id "
    "THEN 'is superseded by ' || r.superseded_by || ', which is of thread ' || coalesce(h.thread_id, g.thread_id)"
)

REASONS: Final[dict[RunStatus, tuple[Reason, ...]]] = {
    RunStatus.PENDING: (Reason.RELEASED, Reason.LEASE_LOST),
    RunStatus.RUNNING: (),
    RunStatus.INTERRUPTED: (Reason.SUPERSEDED, Reason.CANCELLED),
    RunStatus.SUCCESS: (),
    RunStatus.ERROR: (Reason.MAX_ATTEMPTS,),
    RunStatus.TIMEOUT: (Reason.TIMEOUT, Reason.EXPIRED),
    RunStatus.MERGED: (),
    RunStatus.DELETED: (Reason.SUPERSEDED, Reason.CANCELLED),
}
"""The reasons that a run of each status may have. A run that was stopped has a reason; the other runs may have none."""


def quoted(words: Iterable[Enum]) -> str:
    return ", ".join(f"'{word.value}'" for word in words)


def _may_end(trigger: Trigger) -> str:
    """A condition: the successor `h` ends runs by this move, those that have started, or those that wait."""
    started = quoted(strategy for strategy, rules in STRATEGIES.items() if rules.ends is trigger)
    waiting = quoted(
        strategy for strategy, rules in STRATEGIES.items() if rules.policies and rules.ends_queue is trigger
    )
    ending = quoted(policy for policy, rules in QUEUE_POLICIES.items() if rules.ends)
    return f"(h.strategy IN ({started}) OR h.strategy IN ({waiting}) AND h.queue_policy IN ({ending}))"


_STOPPING: Final = quoted(strategy for strategy, rules in STRATEGIES.items() if rules.ends is not None)
_STEERING: Final = quoted(strategy for strategy, rules in STRATEGIES.items() if rules.steers)
_WITH_REASON: Final = " ".join(
    f"WHEN '{status.value}' THEN r.reason IN ({quoted(reasons)})" for status, reasons in REASONS.items()
)

RULES: Final = (
    # At most one run of a thread is running.
    Rule(
        Kind.RUNNING,
        "SELECT 'thread ' || thread_id, 'runs ' || group_concat(run_id, ', ') || ' are running at once' "
        "FROM runs NOT INDEXED WHERE status = 'running' GROUP BY thread_id HAVING count(*) > 1",
    ),
    # The columns of a run agree with each other, where the CHECKs of the schema do not require that already.
    Rule(
        Kind.RUN,
        f"""SELECT {_RUN}, CASE
            WHEN status = 'running' AND (worker_id IS NULL) <> (lease_expires IS NULL)
                THEN 'is running with ' || iif(worker_id IS NULL, 'a lease and no worker', 'a worker and no lease')
            WHEN (start_time IS NOT NULL) <> (epoch > 0)
                THEN 'has epoch ' || epoch || iif(start_time IS NULL, ' without', ' with') || ' a start_time'
            WHEN (status IN ('running', 'success', 'error') OR reason = 'TIMEOUT') AND (epoch = 0 OR attempt = 0)
                THEN 'is ' || status || ' in attempt ' || attempt || ', epoch ' || epoch
            WHEN attempt < 0 OR attempt > epoch THEN 'is in attempt ' || attempt || ', epoch ' || epoch
            WHEN (base_step IS NULL) <> (status = 'pending' AND epoch = 0)
                THEN 'is ' || status || ', epoch ' || epoch || ', base_step ' || quote(base_step)
            WHEN epoch = 0 AND last_step <> 0 THEN 'has last_step ' || last_step || ' though it never started'
            WHEN epoch > 0 AND last_step <= base_step + merges
                THEN 'has last_step ' || last_step || ', which is not after its base_step ' || base_step
            WHEN (status = 'merged') <> (merged_into IS NOT NULL)
                THEN 'is ' || status || coalesce(', and part of ' || merged_into, ', and part of no run')
            WHEN status IN ('merged', 'pending') AND epoch > 0 AND reason IS NULL
                THEN 'is ' || status || ' in epoch ' || epoch
            WHEN reason = 'EXPIRED' AND (epoch > 0 OR expire_time IS NULL)
                THEN 'has expired in epoch ' || epoch || ', with expire_time ' || quote(expire_time)
            WHEN debounced AND queue_policy IS NOT 'merge'
                THEN 'waits for further messages with the queue policy ' || quote(queue_policy)
            WHEN reason IS NULL AND status IN ('interrupted', 'timeout') THEN 'is ' || status || ' without a reason'
            WHEN reason IS NOT NULL AND NOT CASE status {_WITH_REASON} ELSE 0 END
                THEN 'is ' || status || ' with the reason ' || reason
            WHEN (error_type IS NOT NULL) <> (status = 'error')
                THEN 'is ' || status || iif(error_type IS NULL, ' without', ' with') || ' an error'
            END AS what
        FROM runs r NOT INDEXED WHERE what IS NOT NULL""",
    ),
    # The sequence and the steps of a run are within those of its thread.
    Rule(
        Kind.COUNTER,
        f"""SELECT {_RUN}, CASE
            WHEN sequence NOT BETWEEN 1 AND t.last_sequence
                THEN 'has sequence ' || sequence || ', the thread''s last is ' || t.last_sequence
            WHEN r.base_step > t.last_step
                THEN 'has base_step ' || r.base_step || ', the thread''s last step is ' || t.last_step
            WHEN r.last_step > t.last_step
                THEN 'has last_step ' || r.last_step || ', the thread''s is ' || t.last_step
            WHEN r.end_time IS NULL AND r.last_step NOT IN (0, t.last_step)
                THEN 'is ' || status || ' with last_step ' || r.last_step || ', the thread''s is ' || t.last_step
            END AS what
        FROM runs r NOT INDEXED JOIN threads t USING (thread_id) WHERE what IS NOT NULL""",
    ),
    # The steps of a run exist: its input is its first step, and its last step belongs to it.
    Rule(
        Kind.STEP,
        f"""SELECT {_RUN}, CASE
            WHEN f.body IS NULL OR l.body IS NULL
                THEN 'has made steps ' || (base_step + 1) || ' to ' || last_step || ', but they are not all there'
            WHEN f.body <> r.input THEN 'has made step ' || f.step || ' of its input, but they differ'
            END AS what
        FROM runs r NOT INDEXED
        LEFT JOIN steps f ON f.thread_id = r.thread_id AND f.step = base_step + merges + 1 AND f.run_id = r.run_id
        LEFT JOIN steps l ON l.thread_id = r.thread_id AND l.step = last_step AND l.run_id = r.run_id
        WHERE last_step > 0 AND what IS NOT NULL""",
    ),
    # A merged run's input is a step of the run that took it, once that one has started.
    Rule(
        Kind.STEP,
        """SELECT 'thread ' || s.thread_id || ', step ' || s.step, CASE
            WHEN r.thread_id <> s.thread_id
                THEN 'is the input of run ' || s.input_of || ', which is of thread ' || r.thread_id
            WHEN r.input <> s.body THEN 'is the input of run ' || s.input_of || ', but they differ'
            END AS what
        FROM steps s NOT INDEXED JOIN runs r ON r.run_id = s.input_of
        WHERE r.status = 'merged' AND what IS NOT NULL""",
    ),
    # What became part of a run is of its thread, and was admitted before it.
    Rule(
        Kind.RUN,
        f"""SELECT {_RUN}, CASE
            WHEN h.thread_id <> r.thread_id THEN 'is part of ' || h.run_id || ', which is of thread ' || h.thread_id
            WHEN h.sequence <= r.sequence AND r.strategy NOT IN ({_STEERING})
                THEN 'is part of ' || h.run_id || ', which was admitted before it'
            WHEN h.merges + h.absorbed <= r.merges
                THEN 'is part of ' || h.run_id || ', which has taken less than that one'
            END AS what
        FROM runs r NOT INDEXED JOIN runs h ON h.run_id = r.merged_into WHERE what IS NOT NULL""",
    ),
    # A superseded run names a later run of its thread, whose strategy interrupts runs.
    Rule(
        Kind.SUPERSEDED,
        f"""SELECT {_RUN}, CASE
            WHEN r.superseded_by IS NULL THEN 'is superseded by nobody'
            WHEN r.reason IS NOT 'SUPERSEDED'
                THEN 'has the successor ' || r.superseded_by || ', but the reason ' || coalesce(r.reason, 'none')
            WHEN {_ELSEWHERE}
            WHEN h.sequence <= r.sequence THEN 'is superseded by ' || h.run_id || ', which was admitted before it'
            WHEN NOT {_may_end(Trigger.INTERRUPT)} OR h.strategy NOT IN ({_STOPPING}) AND r.epoch > 0
                THEN 'is interrupted by ' || h.run_id || ', which came with ' || h.strategy
            END AS what
        FROM runs r NOT INDEXED
        LEFT JOIN runs h ON h.run_id = r.superseded_by LEFT JOIN tombstones g ON g.run_id = r.superseded_by
        WHERE (r.superseded_by IS NOT NULL OR r.reason = 'SUPERSEDED') AND what IS NOT NULL""",
    ),
    # Only the tombstone of a rolled-back run is left, and it says why the run was rolled back.
    Rule(
        Kind.ROLLED_BACK,
        f"""SELECT {_RUN}, CASE
            WHEN x.run_id IS NOT NULL THEN 'was rolled back, but its record is there still'
            WHEN r.reason NOT IN ({quoted(REASONS[RunStatus.DELETED])})
                THEN 'was rolled back with the reason ' || quote(r.reason)
            WHEN (r.superseded_by IS NULL) = (r.reason = 'SUPERSEDED')
                THEN 'was rolled back with the reason ' || r.reason || ' and '
                    || coalesce('the successor ' || r.superseded_by, 'no successor')
            WHEN {_ELSEWHERE}
            WHEN NOT {_may_end(Trigger.ROLL_BACK)}
                THEN 'was rolled back by ' || h.run_id || ', which came with ' || h.strategy
            END AS what
        FROM tombstones r LEFT JOIN runs x ON x.run_id = r.run_id
        LEFT JOIN runs h ON h.run_id = r.superseded_by LEFT JOIN tombstones g ON g.run_id = r.superseded_by
        WHERE what IS NOT NULL""",
    ),
    # A thread waits for an attempt that was stopped, and no run is running meanwhile.
    Rule(
        Kind.DRAIN,
        """SELECT 'thread ' || t.thread_id, CASE
            WHEN stopping_run_id IS NULL OR stopping_epoch IS NULL OR stopping_until IS NULL
                THEN 'awaits a stopped attempt, of which it does not say all'
            WHEN r.thread_id <> t.thread_id
                THEN 'awaits run ' || stopping_run_id || ', which is of thread ' || r.thread_id
            WHEN r.status NOT IN ('interrupted', 'timeout')
                THEN 'awaits run ' || stopping_run_id || ' as stopped, but it is ' || r.status
            WHEN r.epoch <> stopping_epoch
                THEN 'awaits epoch ' || stopping_epoch || ' of run ' || stopping_run_id
                    || ', which ended in ' || r.epoch
            WHEN stopping_until > stopping_grace_until
                THEN 'awaits run ' || stopping_run_id || ' beyond its grace'
            WHEN EXISTS (SELECT 1 FROM runs x WHERE x.thread_id = t.thread_id AND x.status = 'running')
                THEN 'awaits run ' || stopping_run_id || ' while another is running'
            END AS what
        FROM threads t LEFT JOIN runs r ON r.run_id = stopping_run_id
        WHERE coalesce(stopping_run_id, stopping_epoch, stopping_until) IS NOT NULL AND what IS NOT NULL""",
    ),
    # A request id names a run of its thread.
    Rule(
        Kind.REQUEST,
        """SELECT 'thread ' || q.thread_id,
            'request id ' || quote(request_id) || ' leads to run ' || q.run_id || ', which is of thread '
                || coalesce(r.thread_id, g.thread_id)
        FROM requests q LEFT JOIN runs r ON r.run_id = q.run_id LEFT JOIN tombstones g ON g.run_id = q.run_id
        WHERE coalesce(r.thread_id, g.thread_id) <> q.thread_id""",
    ),
)
