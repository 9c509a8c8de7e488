"""The types of values that a face passes to a use case, beside texts and numbers."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias, TypeVar

from doubletext import jsontext
from doubletext_statemachine.model import Json

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Unreadable:
    """Stands for a value that the face could not read. `why` says to the caller what is wrong with the field."""

    why: str


Given: TypeAlias = T | Unreadable


class Unchanged(Enum):
    """Stands for a setting that an update leaves as it is."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class JsonObject(NamedTuple):
    """A JSON object that a face has read.

    text   the object as it is stored: to the letter, but for white space; "{}" for an object with a fault
    keys   how many keys the object has at its top level
    fault  what is wrong with the object; empty when nothing is
    """

    text: Json
    keys: int
    fault: str = ""


EMPTY: Final = JsonObject("{}", 0)


def json_object(text: str, field: str) -> JsonObject:
    """Return a JSON object that a face has as text. `field` is the field's name in the fault."""
    try:
        return JsonObject(*jsontext.checked(text))
    except ValueError as error:
        return JsonObject("{}", 0, f"{field} {error}")
