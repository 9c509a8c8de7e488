"""The workloads, in the order in which they are run and told."""

from typing import Final

from tests.bench.workload import Workload
from tests.bench.workloads import create, create_alone, get, refused, turn

WORKLOADS: Final[tuple[Workload, ...]] = (
    create.WORKLOAD,
    create_alone.WORKLOAD,
    get.WORKLOAD,
    refused.WORKLOAD,
    turn.WORKLOAD,
)
