"""The largest values that one call may contain."""

from typing import Final

from doubletext_server.clock import HOUR_US

MOST_KEYS: Final = 100
"""The most keys of metadata. Each key is an entry in an index."""
MOST_FILTERS: Final = 16
"""The most keys of a metadata filter."""
LONGEST_QUEUE: Final = 10_000
"""The largest `max_queued_runs`."""
MOST_ATTEMPTS: Final = 100
"""The largest `max_attempts`."""
LONGEST_US: Final = 366 * 24 * HOUR_US
"""The longest duration."""
LONGEST_GRACE_US: Final = HOUR_US
"""The longest `stop_grace`."""
LONGEST_WAIT_US: Final = HOUR_US
"""The longest `wait`. Without one, JoinRun waits until the run is final."""
MOST_STATUSES: Final = 16
"""The most statuses of a filter."""
MOST_GRAPHS: Final = 256
"""The most graphs of one claim."""
MOST_OUTPUTS: Final = 10_000
"""The most outputs of one PublishOutput."""
MOST_ABSORBED: Final = 1000
"""The most runs of one CommitStep."""
MOST_REDUCERS: Final = 256
LARGEST_CONFIG: Final = 256 * 1024
"""Bytes of an assistant's config as JSON. Every assistant is in the server's memory."""
MOST_ASSISTANTS: Final = 1000
MOST_VALUES: Final = 250_000
"""The most values, objects and lists included, of one JSON object."""
