"""Pages of lists. A page token says where the next page starts. It is valid only for the call that it was made for."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from doubletext_server.store.protocol import Page
from doubletext_server.usecases.digests import digest
from doubletext_server.usecases.validation import ID, Fields
from doubletext_statemachine.errors import InvalidPageToken

T = TypeVar("T")


class PageRequest(NamedTuple):
    """Which page a call asks for.

    size   how many items; 0 for the default of the list
    token  where the page starts; empty for the first page
    """

    size: int = 0
    token: str = ""


@dataclass(slots=True, frozen=True)
class Listing(Generic[T]):
    """One page of a list. `next_page_token` is empty on the last page."""

    items: list[T]
    next_page_token: str


class Pages:
    """The pages of one list.

    binding  all parts of the call that the list depends on; a token is valid only for equal ones
    shape    the types of the values that say where a page starts
    most     the largest size of a page
    default  the size of a page when the call gives none
    """

    def __init__(self, *binding: object, shape: tuple[type, ...], most: int, default: int) -> None:
        self._binding = binding
        self._shape = shape
        self._most = most
        self._default = default

    def read(self, fields: Fields, page: PageRequest) -> tuple[int, list[Any] | None]:
        """Return the page's size, and where it starts (None: at the beginning).

        Raises InvalidField, InvalidPageToken.
        """
        size = fields.count("page_size", page.size, self._most, self._default)
        fields.check()
        return size, read_token(page.token, self._shape, *self._binding) if page.token else None

    def listing(self, page: Page[T]) -> Listing[T]:
        return Listing(page.items, token(page.next, *self._binding))


def token(position: list[Any] | None, *binding: object) -> str:
    if position is None:
        return ""
    text = json.dumps([digest(*binding)[:16], position])
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_token(text: str, shape: tuple[type, ...], *binding: object) -> list[Any]:
    """Return where the page starts: values of the types in `shape`. Raises InvalidPageToken."""
    try:
        bound, position = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise InvalidPageToken from None
    if bound != digest(*binding)[:16] or not _is_position(position, shape):
        raise InvalidPageToken
    return list(position)


def _is_position(value: Any, shape: tuple[type, ...]) -> bool:
    if not isinstance(value, list) or tuple(type(part) for part in value) != shape:
        return False
    return all(ID.fullmatch(part) if isinstance(part, str) else abs(part) < 1 << 62 for part in value)
