"""The lifecycle table as a Mermaid state diagram."""

from doubletext_statemachine.lifecycle import TABLE, Row
from doubletext_statemachine.words import TERMINAL


def mermaid() -> str:
    lines = ["stateDiagram-v2", *(f"    {_arrow(row)}" for row in TABLE)]
    lines += [f"    {status.value} --> [*]" for status in sorted(TERMINAL, key=lambda status: status.value)]
    return "\n".join(lines) + "\n"


def _arrow(row: Row) -> str:
    source = row.source.value if row.source else "[*]"
    guards = f" [{', '.join(guard.__name__ for guard in row.guards)}]" if row.guards else ""
    return f"{source} --> {row.dest.value}: {row.trigger.value}{guards}"
