"""The largest values that one call may contain."""

from typing import Final

from doubletext_server.clock import HOUR_US

MOST_KEYS: Final = 100
"""The most keys of metadata. Each key is an entry in an index."""
MOST_FILTERS: Final = 16
"""The most keys of a metadata filter."""
LONGEST_QUEUE: Final = 1_000_000
"""The largest `max_queued_runs`."""
MOST_ATTEMPTS: Final = 100
"""The largest `max_attempts`."""
LONGEST_US: Final = 366 * 24 * HOUR_US
"""The longest duration."""
LONGEST_GRACE_US: Final = HOUR_US
"""The longest `stop_grace`."""
