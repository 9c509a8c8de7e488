"""The rules for the values of a call. They are the same for every face."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from doubletext_server.clock import SECOND_US
from doubletext_server.usecases.limits import LONGEST_US, MOST_KEYS
from doubletext_server.usecases.values import Given, JsonObject, Unreadable
from doubletext_statemachine.errors import InvalidField
from doubletext_statemachine.model import Json

T = TypeVar("T")

ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
ID_RULE: Final = "1 to 128 characters of A-Z a-z 0-9 . _ -"


class Fields:
    """Checks the values of a call and collects the violations. `check` raises InvalidField with all of them.

    Each method returns its value. For a wrong value it may return another one, which nobody uses because `check`
    raises.
    """

    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []

    def wrong(self, field: str, description: str) -> None:
        self.violations.append((field, description))

    def is_wrong(self, field: str) -> bool:
        return any(wrong == field for wrong, _ in self.violations)

    def check(self) -> None:
        if self.violations:
            raise InvalidField(self.violations)

    def id(self, field: str, value: str) -> str:
        if not value:
            self.wrong(field, f"is required: {ID_RULE}")
        elif not ID.fullmatch(value):
            self.wrong(field, f"is {_shown(value)}; it must be {ID_RULE}")
        return value

    def optional_id(self, field: str, value: str) -> str:
        """Check an id. The empty text stands for no id."""
        return self.id(field, value) if value else ""

    def given_id(self, field: str, value: str | None) -> str | None:
        """Check an id. None stands for no id; the empty text is wrong."""
        return None if value is None else self.id(field, value)

    def readable(self, field: str, value: Given[T]) -> T | None:
        """Return the value, or None for a value that the face could not read."""
        if isinstance(value, Unreadable):
            self.wrong(field, value.why)
            return None
        return value

    def most(self, field: str, count: int, most: int, what: str) -> bool:
        """Check how many elements a list or a map has."""
        if count > most:
            self.wrong(field, f"has {count} {what}; it may have {most}")
        return count <= most

    def each(self, field: str, values: Iterable[Given[T]]) -> list[T]:
        found: list[T] = []
        for index, value in enumerate(values):
            if isinstance(value, Unreadable):
                self.wrong(f"{field}[{index}]", value.why)
            else:
                found.append(value)
        return found

    def entries(self, field: str, values: Mapping[str, Given[T]]) -> dict[str, T]:
        found: dict[str, T] = {}
        for key, value in values.items():
            if isinstance(value, Unreadable):
                self.wrong(f"{field}[{key[:40]!r}]", value.why)
            else:
                found[key] = value
        return found

    def json(self, field: str, value: JsonObject) -> Json:
        if value.fault:
            self.wrong(field, value.fault)
        return value.text

    def required_json(self, field: str, value: JsonObject | None, what: str) -> Json:
        if value is None:
            self.wrong(field, f"is required: {what}, a JSON object")
            return "{}"
        return self.json(field, value)

    def metadata(self, field: str, value: JsonObject, most: int = MOST_KEYS) -> Json:
        """Check metadata, or a metadata filter of a list. `most` is how many keys it may have."""
        if value.keys > most:
            self.wrong(field, f"has {value.keys} keys; it may have {most}")
            return "{}"
        return self.json(field, value)

    def duration(
        self, field: str, value_us: Given[int | None], least_us: int = 0, most_us: int = LONGEST_US
    ) -> int | None:
        """Check a duration in microseconds. None stands for no duration."""
        value_us = self.readable(field, value_us)
        if value_us is not None and not least_us <= value_us <= most_us:
            least = "over 0" if least_us else "0"
            self.wrong(field, f"is {value_us / SECOND_US:g} s; it must be {least} to {most_us // SECOND_US} s")
        return value_us

    def sequence(self, field: str, value: int) -> int:
        if value < 0:
            self.wrong(field, f"is {value}; it must be 0, for all events, or the sequence of one")
        return value

    def count(self, field: str, value: int, most: int, default: int) -> int:
        """Check a number from 1 to `most`. 0 stands for the default."""
        if not 0 <= value <= most:
            self.wrong(field, f"is {value}; it must be 1 to {most}, or 0 for {default or 'no limit of its own'}")
        return value or default


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")
