"""Whether an answer is a well-formed status, and whose: this service's, told by its details, or the transport's own."""

import base64
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from doubletext_server.grpc.errors import DOMAIN, STATUS_OF
from tests.fuzz.wire import Reply

ENCODED: Final = re.compile(rb"(?:[\x20-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")
CODES: Final = {(code.value[0], reason) for code, reason in STATUS_OF.values()}
DEADLINE_EXCEEDED: Final = 4


def reason_of(reply: Reply) -> str:
    """The reason of an answer of ours: `OK`, or one of the contract. Fails for any other answer.

    A deadline that the request itself set is the transport's to tell.
    """
    wrong = malformed(reply)
    assert wrong == [], wrong
    if reply.status in (0, DEADLINE_EXCEEDED):
        return "OK" if reply.status == 0 else "DEADLINE_EXCEEDED"
    details = _details(reply)
    assert details is not None, f"no details with {reply.trailers}"
    info = ErrorInfo()
    assert details.details[0].Unpack(info)
    return str(info.reason)


def malformed(reply: Reply) -> list[str]:
    """What is wrong with the form of an answer, whoever gave it."""
    if reply.status is None:
        return [f"no status: reset {reply.reset}, gone {reply.gone}, {reply.headers}"]
    wrong = []
    if not 0 <= reply.status <= 16:
        wrong.append(f"status {reply.status}")
    text = reply.trailers.get(b"grpc-message", b"")
    if not ENCODED.fullmatch(text):
        wrong.append(f"grpc-message {text!r} is not percent-encoded")
    try:
        message = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return [*wrong, f"grpc-message {text!r} is no UTF-8"]
    if re.search("Traceback|<class|Exception|Unexpected", message):
        wrong.append(f"Python shows through: {message}")
    return wrong + _wrong_details(reply, message)


def _details(reply: Reply) -> Status | None:
    packed = reply.trailers.get(b"grpc-status-details-bin")
    if packed is None:
        return None
    return Status.FromString(base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True))


def _wrong_details(reply: Reply, message: str) -> list[str]:
    try:
        details = _details(reply)
    except (ValueError, DecodeError) as error:
        return [f"grpc-status-details-bin: {error}"]
    if details is None:
        return []
    info = ErrorInfo()
    if not details.details or not details.details[0].Unpack(info):
        return ["no ErrorInfo comes first"]
    wrong = []
    if (details.code, details.message) != (reply.status, message):
        wrong.append(f"the details say {details.code} {details.message!r}, the status {reply.status} {message!r}")
    if info.domain != DOMAIN or (details.code, info.reason) not in CODES:
        wrong.append(f"{info.domain} {info.reason} with code {details.code} is not of the contract")
    return wrong
