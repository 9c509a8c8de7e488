"""Make text safe for a terminal: no control character of text from others reaches the terminal."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from doubletext import jsontext

Json: TypeAlias = Mapping[str, Any]

# C0 and C1 controls, which a terminal obeys; line separators; what turns the direction of text around; what is not
# seen, but for the two joiners that scripts and emoji need; lone surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_IN_LINE: Final = re.compile(f"{_UNSAFE.pattern}|[\t\n]")


def printable(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    """Return text with every unsafe character spelled out: ESC becomes `\\x1b`."""
    return unsafe.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def in_line(value: object) -> str:
    """Return a value as one line that is safe to print: text as it is, None as empty text, other values as JSON."""
    if value is None or value == {}:
        return ""
    return printable(value if isinstance(value, str) else as_json(value), _UNSAFE_IN_LINE)


def as_json(value: object) -> str:
    """Return a value as one line of JSON for a person."""
    return printable(jsontext.shown(value), _UNSAFE_IN_LINE)


def message_row(message: object) -> tuple[str, str]:
    """Return who says what in one message of a conversation; a message of another form comes as JSON."""
    if not isinstance(message, dict):
        return "?", as_json(message)
    content = message.get("content", "")
    said = printable(content) if isinstance(content, str) else in_line(content)
    more = {key: value for key, value in message.items() if key not in ("role", "type", "content", "id")}
    lines = [said] if said else []
    lines += [f"{in_line(key)}: {in_line(value)}" for key, value in more.items() if value not in (None, "", [], {})]
    return in_line(message.get("role") or message.get("type") or "?"), "\n".join(lines)
