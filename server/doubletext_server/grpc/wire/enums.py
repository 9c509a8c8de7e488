"""The words of the domain, with their numbers in the protos' enums."""

from enum import Enum
from typing import Any, Final, TypeVar

from doubletext.v1 import resources_pb2 as pb
from doubletext_statemachine.words import (
    CancelAction,
    OnFailure,
    QueuePolicy,
    Reducer,
    RunStatus,
    Strategy,
    ThreadStatus,
)

E = TypeVar("E", bound=Enum)


class IfThreadNotExists(Enum):
    """An enum that only CreateRun has."""

    REJECT = "reject"
    CREATE = "create"


def _numbers(prefix: str, kind: type[E], descriptor: Any) -> dict[E, Any]:
    return {member: descriptor.Value(f"{prefix}_{member.name}") for member in kind}


STRATEGY: Final = _numbers("MULTITASK_STRATEGY", Strategy, pb.MultitaskStrategy)
QUEUE_POLICY: Final = _numbers("QUEUE_POLICY", QueuePolicy, pb.QueuePolicy)
ON_FAILURE: Final = _numbers("ON_FAILURE", OnFailure, pb.OnFailure)
RUN_STATUS: Final = _numbers("RUN_STATUS", RunStatus, pb.RunStatus)
THREAD_STATUS: Final = _numbers("THREAD_STATUS", ThreadStatus, pb.ThreadStatus)
REDUCER: Final = _numbers("REDUCER", Reducer, pb.Reducer)
CANCEL_ACTION: Final = _numbers("CANCEL_ACTION", CancelAction, pb.CancelAction)
IF_THREAD_NOT_EXISTS: Final = _numbers("IF_THREAD_NOT_EXISTS", IfThreadNotExists, pb.IfThreadNotExists)
