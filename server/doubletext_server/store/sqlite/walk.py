"""Walks along ordered ranges of indexes: a list with several filters is what stands in all of their ranges.
See docs/decisions/0031.

Whichever filter has the fewest entries sets the pace, since each walk leaps to where the others stand; nothing needs to
know beforehand which one that is. Reads keys only, and decides nothing about what is listed.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

Key: TypeAlias = tuple[Any, ...]

PATIENCE: Final = 8
"""Entries that a walk reads one after the other before it leaps: a leap costs about as much as so many."""


@dataclass(slots=True, frozen=True)
class Order:
    """How a list is sorted: by its keys, which are values of `columns`."""

    columns: str
    newest_first: bool

    def reached(self, place: Key, key: Key, past: bool) -> bool:
        """Whether `place` is at `key` or after it; with `past`, after it."""
        if place == key:
            return not past
        return place < key if self.newest_first else place > key

    def first(self, places: Sequence[Key]) -> Key | None:
        return (max if self.newest_first else min)(places, default=None)

    def sql(self, select: str, keys: int) -> str:
        """`select` from a key on, for which it gets `keys` more parameters."""
        sign, direction = ("<=", " DESC") if self.newest_first else (">=", "")
        by = ", ".join(column + direction for column in self.columns.split(", "))
        return f"{select} AND ({self.columns}) {sign} ({', '.join('?' * keys)}) ORDER BY {by}"


class Steps(Protocol):
    def to(self, key: Key, past: bool) -> Key | None:
        """Go on to the first entry that is at `key` or after it (`past`: after it), and say where that is; None at the
        end. Goes forward only."""


class Walk:
    """The entries of one range: `select` with its parameters, in an order that an index has.

    leaps  False for a range that was sorted to be walked: reading on is cheaper than sorting it again.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        order: Order,
        select: str,
        parameters: Sequence[object] = (),
        *,
        leaps: bool = True,
    ) -> None:
        self._connection = connection
        self._order = order
        self._select = select
        self._parameters = parameters
        self._leaps = leaps
        self._rows: sqlite3.Cursor | None = None
        self._at: Key | None = None

    def to(self, key: Key, past: bool) -> Key | None:
        if self._rows is None:
            self._leap(key)
        passed = 0
        while self._at is not None and not self._order.reached(self._at, key, past):
            passed += 1
            if self._leaps and passed > PATIENCE:
                self._leap(key)
            else:
                self._read()
        return self._at

    def _leap(self, key: Key) -> None:
        sql = self._order.sql(self._select, len(key))
        self._rows = self._connection.execute(sql, (*self._parameters, *key))
        self._read()

    def _read(self) -> None:
        self._at = next(self._rows, None) if self._rows else None


class AnyOf:
    """The entries of several ranges; what stands in more than one comes once."""

    def __init__(self, order: Order, walks: Sequence[Steps]) -> None:
        self._order = order
        self._walks = walks

    def to(self, key: Key, past: bool) -> Key | None:
        return self._order.first([place for walk in self._walks if (place := walk.to(key, past)) is not None])


def in_all(walks: Sequence[Steps], start: Key) -> Iterator[tuple[Key, bool]]:
    """Each place that the walks come to after `start`, and whether it stands in all of them. Between two of these
    places there is nothing that does."""
    key, past = start, True
    while (place := walks[0].to(key, past)) is not None:
        key, past = place, True
        for walk in walks[1:]:
            further = walk.to(place, past=False)
            if further is None:
                return
            if further != place:
                key, past = further, False
                break
        yield place, past
