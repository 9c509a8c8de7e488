"""How users' JSON objects are put into answers: as text, or as google.protobuf.Struct. See resources.proto.

A caller asks for text by the call's metadata, or by giving text itself.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from doubletext import jsontext
from doubletext.misfits import Misfit
from doubletext.structs import fill_struct
from doubletext_server.grpc.edge import RpcContext
from doubletext_statemachine.errors import ValueNotExact
from doubletext_statemachine.model import Json

Put: TypeAlias = Callable[[Message, str, Json], None]
"""Puts an object, given as text, into the message's field of that name, or into the one beside it."""

TEXT_WANTED: Final = ("doubletext-json", "text")


def as_text(message: Message, name: str, text: Json) -> None:
    setattr(message, f"{name}_json", text)


def as_struct(message: Message, name: str, text: Json) -> None:
    """Raises ValueNotExact."""
    try:
        _fill(getattr(message, name), text)
    except Misfit as misfit:
        raise ValueNotExact(path=misfit.place(name)) from None


def as_struct_or_text(message: Message, name: str, text: Json) -> None:
    try:
        _fill(getattr(message, name), text)
    except Misfit:
        message.ClearField(name)
        as_text(message, name, text)


def _fill(target: Struct | Value, text: Json) -> None:
    if isinstance(target, Value):
        within = Struct()
        _fill(within, f'{{"":{text}}}')
        target.CopyFrom(within.fields[""])
        return
    target.SetInParent()
    if text != "{}":
        fill_struct(target, jsontext.loads(text))


def exactly(request: Message, context: RpcContext) -> Put:
    """How the answer to a reading call gets its objects, when a value that does not fit is to fail the call."""
    return as_text if _text_wanted(request, context) else as_struct


def chosen(request: Message, context: RpcContext) -> Put:
    """How any other answer gets its objects."""
    return as_text if _text_wanted(request, context) else as_struct_or_text


def _text_wanted(request: Message, context: RpcContext) -> bool:
    if TEXT_WANTED in (context.invocation_metadata() or ()):
        return True
    for path in _texts(request.DESCRIPTOR):  # noqa: SIM110 - a generator costs more than the rest
        if _given(request, path):
            return True
    return False


def _given(message: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        message = getattr(message, name)
    return bool(message)


@cache
def _texts(kind: Descriptor) -> tuple[tuple[str, ...], ...]:
    """The paths of a request's fields for JSON text."""
    found: list[tuple[str, ...]] = [(field.name,) for field in kind.fields if field.name.endswith("_json")]
    nested = [field for field in kind.fields if field.message_type and not field.is_repeated]
    found += [(field.name, *path) for field in nested for path in _texts(field.message_type)]
    return tuple(found)
