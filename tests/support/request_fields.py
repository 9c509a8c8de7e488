"""The fields of all requests by kind, from the protos' descriptors: a new one is tested as soon as it is there."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from google.protobuf.descriptor import FieldDescriptor

from tests.support.rpcs import METHODS


def fields(holds: Callable[[FieldDescriptor], bool]) -> list[Any]:
    """Each field of each request of which `holds`, as parameters `method, field`."""
    return [
        pytest.param(method.name, field, id=f"{method.name}-{field.name}")
        for method in METHODS.values()
        for field in method.input_type.fields
        if holds(field)
    ]


def is_message(name: str) -> Callable[[FieldDescriptor], bool]:
    return lambda field: field.message_type is not None and field.message_type.full_name == name


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_id(field: FieldDescriptor) -> bool:
    return field.name.endswith("_id") or field.name == "graph"


def is_number(field: FieldDescriptor) -> bool:
    return field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


def is_enum(field: FieldDescriptor) -> bool:
    value = field.message_type.fields_by_name["value"] if is_map(field) and field.message_type else field
    return value.enum_type is not None


def is_covered_elsewhere(field: FieldDescriptor) -> bool:
    return field.name == "page_token" or field.cpp_type == FieldDescriptor.CPPTYPE_BOOL


def is_ids(field: FieldDescriptor) -> bool:
    return field.name in ("graphs", "absorb")


def is_content(field: FieldDescriptor) -> bool:
    """What has fields of its own; see test_bad_leases."""
    return field.name in ("outputs", "success", "error")


def is_json_text(field: FieldDescriptor) -> bool:
    return field.name.endswith("_json")


is_struct, is_duration = is_message("google.protobuf.Struct"), is_message("google.protobuf.Duration")
is_lease = is_message("doubletext.v1.Lease")
KINDS: Final = (
    *(is_id, is_ids, is_number, is_enum, is_struct, is_json_text, is_duration),
    *(is_lease, is_content, is_covered_elsewhere),
)
OPTIONAL_IDS: Final = {
    (method, "thread_id")
    for method in ("GetRun", "JoinRun", "CancelRun", "DeleteRun", "WatchRun", "UpdateRun", "MoveRun")
}
