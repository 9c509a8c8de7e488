"""Turn refusals into gRPC statuses, by one table, with the details of each."""

from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from doubletext_statemachine import errors as refusals
from doubletext_statemachine.errors import Refusal

DOMAIN: Final = "doubletext"
LARGEST_DETAIL: Final = 2 * 1024
C = grpc.StatusCode

# fmt: off
STATUS_OF: Final[dict[type[Refusal], tuple[grpc.StatusCode, str]]] = {
    refusals.ThreadBusy:        (C.ALREADY_EXISTS,      "THREAD_BUSY"),
    refusals.ThreadExists:      (C.ALREADY_EXISTS,      "THREAD_EXISTS"),
    refusals.AssistantExists:   (C.ALREADY_EXISTS,      "ASSISTANT_EXISTS"),
    refusals.ThreadNotFound:    (C.NOT_FOUND,           "THREAD_NOT_FOUND"),
    refusals.RunNotFound:       (C.NOT_FOUND,           "RUN_NOT_FOUND"),
    refusals.AssistantNotFound: (C.NOT_FOUND,           "ASSISTANT_NOT_FOUND"),
    refusals.StepNotFound:      (C.NOT_FOUND,           "STEP_NOT_FOUND"),
    refusals.RunRolledBack:     (C.NOT_FOUND,           "RUN_ROLLED_BACK"),
    refusals.InvalidField:      (C.INVALID_ARGUMENT,    "INVALID_FIELD"),
    refusals.RequestIdReused:   (C.INVALID_ARGUMENT,    "REQUEST_ID_REUSED"),
    refusals.InvalidPageToken:  (C.INVALID_ARGUMENT,    "INVALID_PAGE_TOKEN"),
    refusals.EventsTrimmed:     (C.OUT_OF_RANGE,        "EVENTS_TRIMMED"),
    refusals.ValueNotExact:     (C.OUT_OF_RANGE,        "VALUE_NOT_EXACT"),
    refusals.ThreadInFlight:    (C.FAILED_PRECONDITION, "THREAD_BUSY"),
    refusals.RunInFlight:       (C.FAILED_PRECONDITION, "RUN_IN_FLIGHT"),
    refusals.RunChanged:   (C.FAILED_PRECONDITION, "RUN_CHANGED"),
    refusals.RunStarted:        (C.FAILED_PRECONDITION, "RUN_STARTED"),
    refusals.RevisionChanged:   (C.ABORTED,             "REVISION_CHANGED"),
    refusals.LeaseLost:         (C.FAILED_PRECONDITION, "LEASE_LOST"),
    refusals.QueueFull:         (C.RESOURCE_EXHAUSTED,  "QUEUE_FULL"),
    refusals.TooLarge:          (C.RESOURCE_EXHAUSTED,  "TOO_LARGE"),
    refusals.Overloaded:        (C.RESOURCE_EXHAUSTED,  "OVERLOADED"),
    refusals.NotReady:          (C.UNAVAILABLE,         "NOT_READY"),
}

# The type of the resource that a refusal is about, and the fact of the refusal that names the resource.
RESOURCE_OF: Final = {
    refusals.ThreadBusy:        ("doubletext.v1.Run",       "active_run_id"),
    refusals.ThreadInFlight:    ("doubletext.v1.Run",       "active_run_id"),
    refusals.ThreadExists:      ("doubletext.v1.Thread",    "thread_id"),
    refusals.ThreadNotFound:    ("doubletext.v1.Thread",    "thread_id"),
    refusals.AssistantExists:   ("doubletext.v1.Assistant", "assistant_id"),
    refusals.AssistantNotFound: ("doubletext.v1.Assistant", "assistant_id"),
    refusals.RunNotFound:       ("doubletext.v1.Run",       "run_id"),
    refusals.RunRolledBack:     ("doubletext.v1.Run",       "run_id"),
    refusals.StepNotFound:      ("doubletext.v1.State",     "step"),
}

# Seconds after which the client may try again.
RETRY_AFTER: Final = {refusals.QueueFull: 1, refusals.Overloaded: 1, refusals.NotReady: 1}
# fmt: on


def status_of(refusal: Refusal) -> Status:
    """Return the google.rpc.Status of a refusal: first its ErrorInfo, then the other details of its class."""
    code, reason = STATUS_OF[type(refusal)]
    return _status(code, str(refusal), reason, refusal.facts, _details(refusal))


def reason_of(error: Exception) -> str:
    """Return the reason that a client gets for an error."""
    return STATUS_OF[type(error)][1] if isinstance(error, Refusal) else "INTERNAL"


def internal(reference: str) -> Status:
    """Return the status of a bug. The client gets only the reference by which the log has the cause."""
    message = f"the service failed; its log has the cause under reference {reference}"
    return _status(C.INTERNAL, message, "INTERNAL", {"reference": reference}, [])


def _details(refusal: Refusal) -> list[Message]:
    found: list[Message] = []
    if isinstance(refusal, refusals.InvalidField):
        found.append(_bad_request(refusal.violations))
    if isinstance(refusal, (refusals.QueueFull, refusals.TooLarge, refusals.Overloaded)):
        subject = refusal.facts.get("thread_id") or refusal.facts["what"]
        violation = details.QuotaFailure.Violation(subject=subject, description=str(refusal))
        found.append(details.QuotaFailure(violations=[violation]))
    if (resource := RESOURCE_OF.get(type(refusal))) is not None:
        kind, fact = resource
        found.append(details.ResourceInfo(resource_type=kind, resource_name=refusal.facts[fact]))
    if (seconds := RETRY_AFTER.get(type(refusal))) is not None:
        found.append(details.RetryInfo(retry_delay=Duration(seconds=seconds)))
    return found


def _bad_request(violations: list[tuple[str, str]]) -> details.BadRequest:
    """Return the violations, as many as fit. Trailers over 8 KiB, with message and base64, may fail at the client."""
    message = details.BadRequest()
    for place, (field, description) in enumerate(violations):
        if message.ByteSize() > LARGEST_DETAIL:
            left = f"and {len(violations) - place} more"
            message.field_violations.add(field="request", description=left)
            break
        message.field_violations.add(field=field, description=description)
    return message


def _status(code: grpc.StatusCode, message: str, reason: str, metadata: dict[str, str], further: list[Any]) -> Status:
    status = Status(code=code.value[0], message=message)
    info = details.ErrorInfo(reason=reason, domain=DOMAIN)
    for name, value in metadata.items():  # a map passed as an argument takes three times as long
        info.metadata[name] = value
    for detail in (info, *further):
        status.details.add().Pack(detail)
    return status
