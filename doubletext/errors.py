"""The exceptions of the client, made from the google.rpc.Status that every error of the service carries.

DoubletextError           any refusal or failure; raised itself for an error that no class below stands for
├── ThreadBusy            a run is in flight, and strategy "reject" or update_state needs an idle thread
├── ThreadExists          the thread id is taken
├── AssistantExists       the assistant id is taken
├── NotFound
│   ├── ThreadNotFound
│   ├── RunNotFound
│   │   └── RunRolledBack     a later run, or a cancel, rolled the run back
│   ├── AssistantNotFound
│   └── StepNotFound
├── InvalidField          one or more fields break their rules
├── RequestIdReused       an earlier call had the same request id and other content
├── InvalidPageToken      the page token was not given by this very request
├── EventsTrimmed         some of these events are no longer kept
├── ValueNotExact         the answer has a value that google.protobuf.Struct cannot hold exactly
├── RunInFlight           only a final run can be deleted
├── RunStarted            only a run that has not started can be edited
├── RevisionChanged       another call has edited the run
├── RunChanged            another run is running than the one expected, or none
├── LeaseLost             the worker's lease is over
├── QueueFull             the thread has as many pending runs as it may have
├── TooLarge              the request, or the answer, is too large
├── Overloaded            the server has as many calls as it accepts
├── Unavailable           the server cannot be reached
│   └── NotReady          the server can be reached, and is starting, stopping, or cannot write
├── DeadlineExceeded      the call's deadline passed
└── InternalError         a bug of the service
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

M = TypeVar("M", bound=Message)


class DoubletextError(Exception):
    """A call was refused or failed. `str()` is the server's message.

    code         the gRPC status code
    reason       the name of the error, such as THREAD_BUSY; empty when the error does not come from the service
    message      a sentence for people
    metadata     each variable of the message, as text, by its name
    retry_after  seconds after which the same call may succeed; None when the server gives none
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
    """The thread has runs in flight.

    The code is ALREADY_EXISTS from runs.create, and FAILED_PRECONDITION from threads.update_state.
    """

    @property
    def thread_id(self) -> str:
        return self._text("thread_id")

    @property
    def active_run_id(self) -> str:
        """The run in flight that is to end first."""
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
    """A thread has this id."""


class AssistantExists(DoubletextError):
    """An assistant has this id."""


class NotFound(DoubletextError):
    """There is no such thing."""


class ThreadNotFound(NotFound):
    """There is no such thread."""


class RunNotFound(NotFound):
    """There is no such run, or it is not on this thread."""


class RunRolledBack(RunNotFound):
    """The run was rolled back. Its input, steps and outputs are deleted."""

    @property
    def superseded_by(self) -> str:
        """The run that rolled this one back; empty when a cancel did."""
        return self._text("superseded_by")

    @property
    def deleted_at(self) -> str:
        """When the run was rolled back, as RFC 3339 text in UTC."""
        return self._text("deleted_at")


class AssistantNotFound(NotFound):
    """There is no such assistant."""


class StepNotFound(NotFound):
    """The thread has no such step."""

    @property
    def last_step(self) -> int:
        return self._number("last_step")


class InvalidField(DoubletextError):
    """Fields of the request break their rules."""

    @property
    def violations(self) -> list[tuple[str, str]]:
        """All wrong fields, each with what is wrong with it."""
        return self._violations


class RequestIdReused(DoubletextError):
    """An earlier call on this thread had the same request id and other content."""


class InvalidPageToken(DoubletextError):
    """The page token was not given by this very request."""


class EventsTrimmed(DoubletextError):
    """Some of the events after `after_sequence` are no longer kept."""

    @property
    def oldest_sequence(self) -> int:
        return self._number("oldest_sequence")


class ValueNotExact(DoubletextError):
    """The answer has a value that google.protobuf.Struct cannot hold exactly. This client asks for text, and never gets
    this error."""

    @property
    def path(self) -> str:
        return self._text("path")


class RunInFlight(DoubletextError):
    """The run is pending or running. Cancel it first."""


class RunChanged(DoubletextError):
    """Another run is running than the one that the call expected, or none. Nothing was written."""

    @property
    def active_run_id(self) -> str:
        """The run that is running; empty for none."""
        return self._text("active_run_id")


class RunStarted(DoubletextError):
    """The run has started, or is final, and can no longer be edited or moved."""


class RevisionChanged(DoubletextError):
    """Another call has edited the run. Read it, and call again with its revision."""

    @property
    def revision(self) -> int:
        """The one that the run has."""
        return self._number("revision")


class LeaseLost(DoubletextError):
    """The lease is over. Nothing was written, and nothing will be accepted under this lease."""

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
    """The thread has as many pending runs as it may have. `retry_after` says when to try again."""


class TooLarge(DoubletextError):
    """The request is larger than the server accepts, or the answer is larger than the server sends."""


class Overloaded(DoubletextError):
    """The server has as many calls as it accepts. `retry_after` says when to try again."""


class Unavailable(DoubletextError):
    """The server cannot be reached, or the connection broke during the call.

    The client has retried the call, if that is safe.
    """


class NotReady(Unavailable):
    """The server is starting, is stopping, or cannot write at the moment. `retry_after` says when to try again."""


class DeadlineExceeded(DoubletextError):
    """The call's deadline passed. The server may have carried out the call all the same."""


class InternalError(DoubletextError):
    """The service has a bug."""

    @property
    def reference(self) -> str:
        """Finds the cause in the server's log."""
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
    "VALUE_NOT_EXACT":     ValueNotExact,
    "RUN_IN_FLIGHT":       RunInFlight,
    "RUN_CHANGED":         RunChanged,
    "RUN_STARTED":         RunStarted,
    "REVISION_CHANGED":    RevisionChanged,
    "LEASE_LOST":          LeaseLost,
    "QUEUE_FULL":          QueueFull,
    "TOO_LARGE":           TooLarge,
    "OVERLOADED":          Overloaded,
    "NOT_READY":           NotReady,
    "INTERNAL":            InternalError,
}
# For errors that do not come from the service, but from gRPC or a proxy.
CLASS_OF_CODE: Final[dict[grpc.StatusCode, type[DoubletextError]]] = {
    grpc.StatusCode.UNAVAILABLE:       Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
# fmt: on
_LARGER_THAN_MAX: Final = re.compile(r"(?:SERVER: |CLIENT: )?Received message larger than max \((\d+) vs\. (\d+)\)")
"""What gRPC itself says of a message that it does not read to its end."""


def from_rpc_error(error: grpc.aio.AioRpcError) -> DoubletextError:
    """Return the exception for a failed call. The caller raises it `from` the error."""
    status = _status(error)
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    bad_request = _detail(status, error_details_pb2.BadRequest)
    ours = info is not None and info.domain == DOMAIN
    kind, message = CLASS_OF_CODE.get(error.code(), DoubletextError), error.details() or error.code().name
    if info is not None and ours:
        kind = CLASS_OF.get(info.reason, kind)
    elif (sizes := _LARGER_THAN_MAX.match(message)) is not None:
        kind, (size, limit) = TooLarge, sizes.groups()
        message = (
            f"the message is {size} bytes, the limit being {limit}; store large things elsewhere and send a reference"
        )
    return kind(
        message,
        code=error.code(),
        reason=info.reason if info is not None and ours else "",
        metadata=info.metadata if info is not None and ours else None,
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else None,
        violations=[(v.field, v.description) for v in bad_request.field_violations]
        if bad_request is not None
        else None,
    )


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the google.rpc.Status that came with the error, or an empty one.

    Not read by grpc_status, which refuses a status whose message a proxy has changed on the way.
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
