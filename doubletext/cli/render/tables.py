"""Columns of text, by hand: importing rich for them takes half as long as a call of the server.

`width` is how many cells there are in a line of the terminal; None where nothing wraps.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import click
from rich.cells import cell_len, chop_cells

GAP: Final = "  "
_NARROWEST: Final = 20
_TAB: Final = 8


def fields(rows: Sequence[tuple[str, str]], width: int | None, *, styled: bool) -> list[str]:
    """Return names with a text beside each. A text may have many lines, and is wrapped where it is too wide."""
    first = max((cell_len(name) for name, _ in rows), default=0)
    room = None if width is None else max(width - first - len(GAP), _NARROWEST)
    lines = []
    for name, text in rows:
        head, *rest = (part for line in text.split("\n") for part in wrapped(line, room))
        lines.append(_cell(name, first, styled=styled) + GAP + head)
        lines += [" " * first + GAP + line for line in rest]
    return [line.rstrip() for line in lines]


class Listing:
    """A table whose rows come in several parts. Rows are not wrapped, so that ids can be copied."""

    def __init__(self, columns: Sequence[str], *, styled: bool) -> None:
        self._widths = [cell_len(name) for name in columns]
        self._columns: Sequence[str] | None = columns
        self._styled = styled

    def lines(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Return one line for each row, and before the first ones a line of the columns' names.

        Columns are as wide as all rows so far need.
        """
        rows = list(rows)
        parts = zip(self._widths, *([cell_len(text) for text in row] for row in rows), strict=True)
        self._widths = [max(widths) for widths in parts]
        lines = [] if self._columns is None else [self._line(self._columns, styled=self._styled)]
        self._columns = None
        return [*lines, *map(self._line, rows)]

    def _line(self, texts: Sequence[str], *, styled: bool = False) -> str:
        cells = (_cell(text, width, styled=styled) for text, width in zip(texts, self._widths, strict=True))
        return GAP.join(cells).rstrip()


def _cell(text: str, width: int, *, styled: bool = False) -> str:
    return (click.style(text, bold=True) if styled else text) + " " * (width - cell_len(text))


def wrapped(line: str, width: int | None) -> list[str]:
    """Break a line between words. Break a word only if it is longer than a line."""
    line = line.expandtabs(_TAB)
    if width is None or cell_len(line) <= width:
        return [line]
    lines, last, used = [], "", 0
    for word in re.findall(r"\s*\S+\s*", line):
        length = cell_len(word.rstrip())
        if used + length <= width:
            last, used = last + word, used + cell_len(word)
            continue
        if last:
            lines.append(last)
        *full, last = chop_cells(word, width) if length > width else [word]
        lines += full
        used = cell_len(last)
    return [*lines, last]
