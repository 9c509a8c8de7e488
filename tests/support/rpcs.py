"""Every RPC called by its descriptor, and a refusal taken apart as it came over the wire."""

import re
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from doubletext.v1 import (
    assistant_service_pb2,
    run_service_pb2,
    thread_service_pb2,
    worker_service_pb2,
)
from doubletext_server.grpc.errors import STATUS_OF
from doubletext_statemachine import errors as refusals
from tests.support.reasons import FREE, IN_THE_PROTOS

OURS: Final[list[MethodDescriptor]] = [
    method
    for file in (assistant_service_pb2, thread_service_pb2, run_service_pb2, worker_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
METHODS: Final = {method.name: method for method in OURS}


@dataclass
class Refused:
    """An error as it came over the wire. `rest`: the details beside ErrorInfo, by the names of their messages."""

    code: str
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    rest: dict[str, Any]
    raw: Status

    @property
    def violations(self) -> list[tuple[str, str]]:
        return [(each.field, each.description) for each in self.rest["BadRequest"].field_violations]

    @property
    def resource(self) -> tuple[str, str]:
        return self.rest["ResourceInfo"].resource_type, self.rest["ResourceInfo"].resource_name


def read(error: grpc.aio.AioRpcError) -> Refused:
    """Take the error apart. Fails unless ErrorInfo comes first, from our domain, with all that the message says."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details came with {error.code()} {error.details()}"
    kinds = [detail.TypeName().removeprefix("google.rpc.") for detail in status.details]
    assert kinds[0] == "ErrorInfo"
    assert len(set(kinds)) == len(kinds)
    details: dict[str, Any] = {}
    for kind, packed in zip(kinds, status.details, strict=True):
        details[kind] = getattr(error_details_pb2, kind)()
        assert packed.Unpack(details[kind])
    info = details.pop("ErrorInfo")
    refused = Refused(error.code().name, status.message, info.reason, info.domain, dict(info.metadata), details, status)
    assert refused.domain == "doubletext"
    assert_the_message_can_be_made_of_the_metadata(refused)
    return refused


def assert_the_message_can_be_made_of_the_metadata(refused: Refused) -> None:
    assert_the_metadata_is_what_the_protos_say(refused)
    if refused.reason == "INVALID_FIELD":
        first = refused.violations[: len(refused.metadata)]
        problems = "; ".join(f"{field}: {text}" for field, text in first)
        more = refused.message.removeprefix(problems)
        assert more == "" if len(first) == len(refused.violations) else re.fullmatch(r"; and \d+ more", more)
        assert refused.metadata == dict(first)
        return
    if refused.reason == "INTERNAL":
        assert refused.metadata["reference"] in refused.message
        return
    (kind,) = (kind for kind, row in STATUS_OF.items() if (row[0].name, row[1]) == (refused.code, refused.reason))
    facts = dict(refused.metadata)
    if kind is refusals.RunNotFound:
        facts["where"] = f" on thread '{facts['thread_id']}'" if "thread_id" in facts else ""
    assert refused.message == kind.template.format(**facts)


def assert_the_metadata_is_what_the_protos_say(refused: Refused) -> None:
    if refused.reason == FREE:
        return
    written = IN_THE_PROTOS[refused.reason].metadata
    if refused.reason == "RUN_NOT_FOUND" and "thread_id" not in refused.metadata:
        written = written - {"thread_id"}
    assert set(refused.metadata) == written


async def refused(call: Any) -> Refused:
    """Await a call, or read a stream, that must be refused."""
    answer = call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    return read(caught.value)


def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, timeout: float | None = None) -> Any:
    """Call any RPC by its descriptor."""
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    multi: Any = make(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return multi(request, timeout=timeout)
