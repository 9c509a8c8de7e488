"""The closed lists of words that a store accepts, by the table in which SQLite keeps each (migrations 0007 and later).

A store on a database that can alter a CHECK makes a CHECK of each list instead.
"""

from typing import Final

from doubletext_statemachine.words import RESTING, OnFailure, QueuePolicy, RunStatus, Strategy

VOCABULARY: Final[dict[str, tuple[str, ...]]] = {
    "strategies": tuple(strategy.value for strategy in Strategy),
    "queue_policies": tuple(policy.value for policy in QueuePolicy),
    "on_failures": tuple(word.value for word in OnFailure),
    "event_kinds": ("run_changed", "step_committed", "output", "run_edited", "thread_changed"),
    # A run that is rolled back has no row any more.
    "run_statuses": tuple(status.value for status in RunStatus if status is not RunStatus.DELETED),
    "outcomes": tuple(status.value for status in RESTING),
}
