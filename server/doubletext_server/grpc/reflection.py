"""Server reflection under both of its names, so that grpcurl and `buf curl` need no files.

grpcio-reflection has v1alpha only. v1 has the same messages under another package, so the same servicer serves both.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

ALPHA: Final = "grpc.reflection.v1alpha"
V1: Final = "grpc.reflection.v1"


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    _describe_v1()
    names = (*services, f"{V1}.ServerReflection", f"{ALPHA}.ServerReflection")
    servicer = reflection.aio.ReflectionServicer(names, pool=_Pool())
    info: Any = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for package in (ALPHA, V1):
        server.add_registered_method_handlers(f"{package}.ServerReflection", {"ServerReflectionInfo": info})


class _Pool:
    """The descriptor pool. It also finds methods by name, which `grpcurl describe` needs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        pool = descriptor_pool.Default()
        try:
            return pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found: Any = pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return found.file


def _describe_v1() -> None:
    """Add a renamed copy of v1alpha's descriptor to the pool, so that the v1 service can be described."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", V1
    for message in file.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(f".{ALPHA}.", f".{V1}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{ALPHA}.", f".{V1}.")
            method.output_type = method.output_type.replace(f".{ALPHA}.", f".{V1}.")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
