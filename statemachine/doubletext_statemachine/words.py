"""The words of the domain: statuses, strategies, reducers. Their values are what the database holds."""

from enum import Enum, StrEnum
from typing import Final


class Word(Enum):
    """A word that tables are looked up by, many times for each call: hashed by what it is, which is one step of C."""

    __hash__ = object.__hash__


class RunStatus(Word):
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    DELETED = "deleted"
    MERGED = "merged"


IN_FLIGHT: Final = frozenset({RunStatus.PENDING, RunStatus.RUNNING})
TERMINAL: Final = frozenset(RunStatus) - IN_FLIGHT
STOPPED: Final = frozenset({RunStatus.INTERRUPTED, RunStatus.DELETED, RunStatus.TIMEOUT})
"""The statuses of runs that were ended from outside, whatever their executor was doing."""


class Trigger(Word):
    """What makes a run change its status. These words are never stored."""

    ADMIT = "admit"
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RELEASE = "release"
    LOSE = "lose"
    SPARE = "spare"
    TIME_OUT = "time_out"
    INTERRUPT = "interrupt"
    ROLL_BACK = "roll_back"
    MERGE = "merge"
    EXPIRE = "expire"


class Strategy(Word):
    """What becomes of the run that has started."""

    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"
    ENQUEUE = "enqueue"
    JOIN = "join"
    STEER = "steer"


class QueuePolicy(Word):
    """What becomes of the runs that wait."""

    KEEP = "keep"
    SUPERSEDE = "supersede"
    MERGE = "merge"


class OnFailure(Word):
    """What becomes of a thread when a run of it fails."""

    CONTINUE = "continue"
    HOLD = "hold"


class Place(Word):
    """Where a run is moved to in the line of those that wait."""

    FIRST = "first"
    LAST = "last"
    BEFORE = "before"
    AFTER = "after"


class CancelAction(Word):
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class Reducer(Word):
    REPLACE = "replace"
    APPEND = "append"
    MESSAGES = "messages"


class ThreadStatus(Word):
    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class Reason(Word):
    """Why a run ended other than by its graph, or is pending again after it had started."""

    SUPERSEDED = "SUPERSEDED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    MAX_ATTEMPTS = "MAX_ATTEMPTS"
    THREAD_DELETED = "THREAD_DELETED"
    RELEASED = "RELEASED"
    LEASE_LOST = "LEASE_LOST"
    EXPIRED = "EXPIRED"


class LeaseCause(StrEnum):
    """Why a lease is over. For a run that is not running: its reason, or its status where it has no reason."""

    SUPERSEDED = "SUPERSEDED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    MAX_ATTEMPTS = "MAX_ATTEMPTS"
    RELEASED = "RELEASED"
    LEASE_LOST = "LEASE_LOST"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    PENDING = "PENDING"
    CLAIMED_AGAIN = "CLAIMED_AGAIN"
    EXPIRED = "EXPIRED"
    FOREIGN = "FOREIGN"
    DELETED = "DELETED"
    MERGED = "MERGED"


STATUS_AFTER: Final = {
    RunStatus.INTERRUPTED: ThreadStatus.INTERRUPTED,
    RunStatus.SUCCESS: ThreadStatus.IDLE,
    RunStatus.ERROR: ThreadStatus.ERROR,
    RunStatus.TIMEOUT: ThreadStatus.ERROR,
    None: ThreadStatus.IDLE,
}
"""The status of a thread that has nothing in flight, by the status of the run that finished last (None: none has).

A run that was merged is not finished in this sense: what it was for goes on in the run that took it.
"""
RESTING: Final = tuple(dict.fromkeys(STATUS_AFTER.values()))
"""The statuses that such a thread may have."""


def thread_status(in_flight: int, newest_finished: RunStatus | None) -> ThreadStatus:
    """The rule. `in_flight`: how many runs are; `newest_finished`: the status of the run that finished last."""
    return ThreadStatus.BUSY if in_flight else STATUS_AFTER[newest_finished]
