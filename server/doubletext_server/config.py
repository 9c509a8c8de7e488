"""The settings of a server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from doubletext.graph import Graph
from doubletext_server.clock import Clock, system_clock
from doubletext_server.engine.retention import Keep
from doubletext_server.grpc.edge import Limits
from doubletext_statemachine.model import DEFAULT_MAX_QUEUED_RUNS
from doubletext_statemachine.words import Strategy

DEFAULT_LEASE_US: Final = 15_000_000


@dataclass(frozen=True)
class Config:
    """The settings of a server.

    listen            HOST:PORT; port 0 picks a free one
    db                the path of the database file
    db_mode           the mode of the file: what others than its owner may do with it, at most
    graphs            the graphs that the server executes itself, by name
    default_strategy  the strategy of runs on threads without a default of their own
    max_queued_runs   how many runs may be pending on a thread without a limit of its own
    lease_us          how long a worker's lease lasts unless it is renewed
    keep              what is trimmed, and when
    limits            how many calls there may be at once
    metrics           HOST:PORT where Prometheus may ask; port 0 picks a free one; None: no metrics
    """

    listen: str
    db: str
    graphs: Mapping[str, Graph]
    default_strategy: Strategy = Strategy.ENQUEUE
    max_queued_runs: int = DEFAULT_MAX_QUEUED_RUNS
    lease_us: int = DEFAULT_LEASE_US
    keep: Keep = field(default_factory=Keep)
    limits: Limits = field(default_factory=Limits)
    clock: Clock = system_clock
    metrics: str | None = None
    db_mode: int = 0o600
