"""What a call can raise, read from the google.rpc.Status that every error of the service carries.

DoubletextError           any refusal or failure; also what no class below stands for
├── ThreadBusy            another run is in flight: strategy "reject", or update_state
├── ThreadExists          the thread id is taken
├── AssistantExists       the assistant id is taken
├── NotFound
│   ├── ThreadNotFound
│   ├── RunNotFound
│   │   └── RunRolledBack     it was there; a later run, or a cancel, rolled it back
│   ├── AssistantNotFound
│   └── StepNotFound
├── InvalidField          one or more fields break their rules
├── RequestIdReused       the request id stands for a call with other content
├── InvalidPageToken
├── EventsTrimmed         the events asked for are no longer kept
├── RunInFlight           only a final run can be deleted
├── LeaseLost             another attempt holds the run, or it is over
├── QueueFull             as many runs are pending as the thread may have
├── TooLarge              the request, or the answer, is too large
├── Overloaded            the server has as many calls as it takes
├── Unavailable           the server cannot be reached
│   └── NotReady          it can, and is starting or stopping
├── DeadlineExceeded      the call's deadline passed
└── InternalError         a bug of the service
"""

from collections.abc import Mapping
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

M = TypeVar("M", bound=Message)


class DoubletextError(Exception):
    """A call was refused or failed; `str()` is the server's message.

    code         the gRPC status code
    reason       the service's own name for it, e.g. THREAD_BUSY; empty when something other than the service answered
    message      a sentence for people
    metadata     every variable of the message, text by name
    retry_after  seconds after which the same call may succeed, None when the server names none
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self._violations = violations or []

    def _text(self, key: str) -> str:
        return self.metadata.get(key, "")

    def _number(self, key: str) -> int:
        text = self.metadata.get(key, "")
        return int(text) if text.isdecimal() else 0


class ThreadBusy(DoubletextError):
    """The thread has runs in flight. ALREADY_EXISTS from runs.create, FAILED_PRECONDITION from threads.update_state."""

    @property
    def thread_id(self) -> str:
        return self._text("thread_id")

    @property
    def active_run_id(self) -> str:
        """The run in the way."""
        return self._text("active_run_id")

    @property
    def active_run_status(self) -> str:
        """ "running" or "pending"."""
        return self._text("active_run_status").removeprefix("RUN_STATUS_").lower()

    @property
    def in_flight_runs(self) -> int:
        """How many runs are pending or running."""
        return self._number("in_flight_runs")


class ThreadExists(DoubletextError):
    """The thread id is taken."""


class AssistantExists(DoubletextError):
    """The assistant id is taken."""


class NotFound(DoubletextError):
    """No such thing."""


class ThreadNotFound(NotFound):
    """No such thread."""


class RunNotFound(NotFound):
    """No such run, or none on this thread."""


class RunRolledBack(RunNotFound):
    """The run was rolled back: its input, steps and outputs are gone."""

    @property
    def superseded_by(self) -> str:
        """The run that rolled it back; empty when a cancel did."""
        return self._text("superseded_by")

    @property
    def deleted_at(self) -> str:
        """When, as RFC 3339 text in UTC."""
        return self._text("deleted_at")


class AssistantNotFound(NotFound):
    """No such assistant."""


class StepNotFound(NotFound):
    """The thread has no such step."""

    @property
    def last_step(self) -> int:
        return self._number("last_step")


class InvalidField(DoubletextError):
    """Fields of the request break their rules."""

    @property
    def violations(self) -> list[tuple[str, str]]:
        """Each field with what is wrong with it; all of them at once."""
        return self._violations


class RequestIdReused(DoubletextError):
    """The request id was used on this thread for a call with other content."""


class InvalidPageToken(DoubletextError):
    """The page token is not one that this very request gave."""


class EventsTrimmed(DoubletextError):
    """The events asked for are no longer kept."""

    @property
    def oldest_sequence(self) -> int:
        return self._number("oldest_sequence")


class RunInFlight(DoubletextError):
    """The run is pending or running; cancel it first."""


class LeaseLost(DoubletextError):
    """The lease no longer holds: nothing was written, and nothing will be accepted under it."""

    @property
    def run_id(self) -> str:
        return self._text("run_id")

    @property
    def epoch(self) -> int:
        return self._number("epoch")

    @property
    def current_epoch(self) -> int:
        return self._number("current_epoch")

    @property
    def cause(self) -> str:
        return self._text("cause")


class QueueFull(DoubletextError):
    """As many runs are pending as the thread may have; `retry_after` tells when to try again."""


class TooLarge(DoubletextError):
    """The request is larger than the server takes, or the answer than it gives."""


class Overloaded(DoubletextError):
    """The server has as many calls as it takes; `retry_after` tells when to try again."""


class Unavailable(DoubletextError):
    """The server cannot be reached, or went away during the call. A call that may be retried safely was retried."""


class NotReady(Unavailable):
    """The server is starting, stopping, or cannot write just now; `retry_after` tells when to try again."""


class DeadlineExceeded(DoubletextError):
    """The call's deadline passed; what it asked for may have happened all the same."""


class InternalError(DoubletextError):
    """A bug of the service."""

    @property
    def reference(self) -> str:
        """Finds the failure in the server's log."""
        return self._text("reference")


DOMAIN: Final = "doubletext"
STATUS_KEY: Final = "grpc-status-details-bin"

# fmt: off
CLASS_OF: Final[dict[str, type[DoubletextError]]] = {
    "THREAD_BUSY":         ThreadBusy,
    "THREAD_EXISTS":       ThreadExists,
    "ASSISTANT_EXISTS":    AssistantExists,
    "THREAD_NOT_FOUND":    ThreadNotFound,
    "RUN_NOT_FOUND":       RunNotFound,
    "RUN_ROLLED_BACK":     RunRolledBack,
    "ASSISTANT_NOT_FOUND": AssistantNotFound,
    "STEP_NOT_FOUND":      StepNotFound,
    "INVALID_FIELD":       InvalidField,
    "REQUEST_ID_REUSED":   RequestIdReused,
    "INVALID_PAGE_TOKEN":  InvalidPageToken,
    "EVENTS_TRIMMED":      EventsTrimmed,
    "RUN_IN_FLIGHT":       RunInFlight,
    "LEASE_LOST":          LeaseLost,
    "QUEUE_FULL":          QueueFull,
    "TOO_LARGE":           TooLarge,
    "OVERLOADED":          Overloaded,
    "NOT_READY":           NotReady,
    "INTERNAL":            InternalError,
}
# Of errors that something other than the service made: the transport, a proxy.
CLASS_OF_CODE: Final[dict[grpc.StatusCode, type[DoubletextError]]] = {
    grpc.StatusCode.UNAVAILABLE:       Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
# fmt: on


def from_rpc_error(error: grpc.aio.AioRpcError) -> DoubletextError:
    """Return the exception that stands for a failed call. The caller raises it `from` the error."""
    status = _status(error)
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    bad_request = _detail(status, error_details_pb2.BadRequest)
    ours = info is not None and info.domain == DOMAIN
    kind = CLASS_OF_CODE.get(error.code(), DoubletextError)
    if info is not None and ours:
        kind = CLASS_OF.get(info.reason, kind)
    return kind(
        error.details() or error.code().name,
        code=error.code(),
        reason=info.reason if info is not None and ours else "",
        metadata=info.metadata if info is not None and ours else None,
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else None,
        violations=[(v.field, v.description) for v in bad_request.field_violations]
        if bad_request is not None
        else None,
    )


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status that came with the error; an empty one when none did.

    Read by hand: grpc_status refuses a status whose message a proxy has changed on its way.
    """
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            return _parsed(status_pb2.Status, value) or status_pb2.Status()
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[M]) -> M | None:
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            return _parsed(kind, detail.value)
    return None


def _parsed(kind: type[M], data: bytes) -> M | None:
    try:
        return kind.FromString(data)
    except DecodeError:
        return None
