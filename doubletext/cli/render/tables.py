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


def listing(columns: Sequence[str], rows: Iterable[Sequence[str]], *, styled: bool) -> list[str]:
    """Return a line of the columns' names, and one line for each row.

    Rows are not wrapped, so that ids can be copied.
    """
    rows = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [GAP.join(_cell(name, width, styled=styled) for name, width in zip(columns, widths, strict=True))]
    for row in rows:
        lines.append(GAP.join(_cell(text, width) for text, width in zip(row, widths, strict=True)))
    return [line.rstrip() for line in lines]


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
