"""The tables of the rules as README.md shows them: the lifecycle as a Mermaid diagram, the strategies as Markdown."""

from typing import Final

from doubletext_statemachine.lifecycle import TABLE, Row
from doubletext_statemachine.strategies import STRATEGIES, Rules
from doubletext_statemachine.words import TERMINAL, Trigger


def mermaid() -> str:
    lines = ["stateDiagram-v2", *(f"    {_arrow(row)}" for row in TABLE)]
    lines += [f"    {status.value} --> [*]" for status in sorted(TERMINAL, key=lambda status: status.value)]
    return "\n".join(lines) + "\n"


def _arrow(row: Row) -> str:
    source = row.source.value if row.source else "[*]"
    guards = f" [{', '.join(guard.__name__ for guard in row.guards)}]" if row.guards else ""
    return f"{source} --> {row.dest.value}: {row.trigger.value}{guards}"


def strategy_table() -> str:
    lines = [
        "| `multitask_strategy` | nothing in flight | a run R is running | runs are pending |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{strategy.name}` | starts | {' | '.join(_busy(rules))} |" for strategy, rules in STRATEGIES.items()]
    return "\n".join(lines) + "\n"


def _busy(rules: Rules) -> tuple[str, str]:
    """What a strategy does while a run R is running, and while runs are pending."""
    if rules.needs_idle:
        return "is refused: `THREAD_BUSY`", "is refused"
    if rules.joins:
        return "there is no new run: R is answered", "the newest of them is answered"
    if rules.steers:
        return (
            "is offered to R, whose graph may take its input as a step; else it runs next",
            "goes before them, but behind others that steer",
        )
    if rules.ends is None:
        return "waits for R", "waits its turn, or is refused: `QUEUE_FULL`, if `max_queued_runs` inputs wait"
    status = next(row.dest.name for row in TABLE if row.trigger is rules.ends)
    return f"R ends `{status}`; {_STEPS[rules.ends]}", f"they end `{status}` without having run"


_STEPS: Final = {
    Trigger.INTERRUPT: "its steps stay, and the new run starts on top of them",
    Trigger.ROLL_BACK: "its steps are cut off, and the new run starts from the state before R",
}
