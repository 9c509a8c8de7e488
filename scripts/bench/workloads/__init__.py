"""The workloads, in the order in which they are run and told."""

from typing import Final

from bench.workload import Workload
from bench.workloads import (
    callers,
    create,
    create_alone,
    finished,
    get,
    growth,
    joiners,
    messages,
    mixed,
    queued,
    refused,
    remote,
    turn,
    waits,
)

WORKLOADS: Final[tuple[Workload, ...]] = tuple(
    module.WORKLOAD
    for module in (
        create,
        create_alone,
        get,
        refused,
        turn,
        waits,
        remote,
        mixed,
        callers,
        queued,
        finished,
        messages,
        growth,
        joiners,
    )
)
