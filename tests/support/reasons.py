"""What is written of each reason of an error: in errors.proto, and in docs/errors.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PROTOS: Final = ROOT / "protos/doubletext/v1"


class Written(NamedTuple):
    """The gRPC codes with which a reason comes, and the keys of its metadata."""

    codes: set[str]
    metadata: set[str]


def _in_the_protos() -> dict[str, Written]:
    found = {}
    text = (PROTOS / "errors.proto").read_text("utf-8")
    for comment, reason in re.findall(r"((?:^  //.*\n)+)  ERROR_REASON_(\w+) = [1-9]", text, re.MULTILINE):
        (codes,) = re.findall(r"^  // Code: (.+)\.$", comment, re.MULTILINE)
        (keys,) = re.findall(r"^  // Metadata: (.+)\.$", comment, re.MULTILINE)
        metadata = set() if reason == FREE or keys == "none" else set(keys.split(", "))
        found[reason] = Written({code.partition(" ")[0] for code in codes.split(", ")}, metadata)
    return found


FREE: Final = "INVALID_FIELD"
"""The reason whose metadata has the names of fields for its keys."""
IN_THE_PROTOS: Final = _in_the_protos()


def rows(heading: str) -> Iterator[list[str]]:
    """The rows of the table under a heading of docs/errors.md, cell by cell."""
    _, _, text = (ROOT / "docs/errors.md").read_text("utf-8").partition(f"## {heading}\n")
    for line in text.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            yield line.strip("| ").split(" | ")


def quoted(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))
