"""What is planted in a copy of the healthy file, and what a check must say of it."""

from typing import NamedTuple


class Planted(NamedTuple):
    """`says` are lines of the report, or beginnings of lines; it has no line that none of them begins."""

    script: str
    says: tuple[str, ...]


def planted(script: str, *says: str) -> Planted:
    return Planted(script, says)
