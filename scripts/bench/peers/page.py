"""The result of compare() as a section of the page on benchmarks. Standard library only."""

from collections.abc import Callable
from typing import Any, Final

from bench.peers.figures import NONE, TIMES, Time, percentile, played, pooled, rate, short, total

OURS: Final = "doubletext"
STRATEGIES: Final = ("reject", "enqueue", "interrupt", "rollback")
Cell = Callable[[dict[str, Any]], str]


def section(result: dict[str, Any]) -> str:
    """Markdown, from a heading of the second level on."""
    systems = list(result["systems"].values())
    ours = result["systems"].get(OURS)
    times = [(f"{time.title}, ms", _time(time, ours)) for time in TIMES]
    return "\n\n".join(
        (
            "## Beside its peers",
            _told(result["rounds"]),
            _table(systems, "", [*times, ("runs/s, 64 callers", _rate(ours))]),
            f"p50 / p99 of all rounds' samples; for runs/s the median of {result['rounds']} rounds. In brackets: p50 "
            "and runs/s as multiples of doubletext's. A p99 of fewer than a hundred samples is their largest. Samples: "
            + "; ".join(f"{time.title} {_sizes(systems, time)}" for time in TIMES)
            + ".",
            "### What each can do",
            _table(systems, "a second message", [(name, _strategy(name)) for name in STRATEGIES]),
            "As seen, not as promised. Composed: no single call does it; it is made of several, as told below.",
            "### What went wrong",
            _table(systems, "", COUNTS),
            COUNTED,
            "### How each was set up",
            "\n".join(map(_configured, systems)),
        )
    )


COUNTED: Final = (
    "An overlap is a run that began while the code of an earlier one on its thread was still at work. An order "
    "inversion is a run that started only after one that was created later on its thread. An input is lost if its "
    "create call was answered and its task never came to its end. The kill was played once: 200 runs of 50 ms created "
    "on 20 threads; when 50 had ended, SIGKILL to every process of the system; all started again on their data, and "
    "what was still open waited for until nothing had happened for 15 s."
)


def _told(rounds: int) -> str:
    return (
        f"The same task on each: a step that does nothing, or takes 50 ms, on threads. Interleaved rounds: {rounds}; "
        "everything on one machine, one system at a time. Each task writes to a journal when it starts, ends or is "
        "stopped, and all is derived from that and from the times of the calls. Calls come at random moments, so that "
        "a system that polls is met in all phases. A peer that lacks a thing has `none`."
    )


def _table(systems: list[dict[str, Any]], corner: str, rows: list[tuple[str, Cell]]) -> str:
    lines = [[corner, *(system["title"] for system in systems)], ["---"] * (len(systems) + 1)]
    lines += [[title, *(_cell(system, cell) for system in systems)] for title, cell in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(system: dict[str, Any], cell: Cell) -> str:
    return f"not run: {system['not_run']}" if system["not_run"] else cell(system)


def _time(time: Time, ours: dict[str, Any] | None) -> Cell:
    def cell(system: dict[str, Any]) -> str:
        samples = pooled(system, time)
        if not samples:
            return NONE
        middle = percentile(samples, 0.5)
        own = pooled(ours, time) if ours and ours is not system else []
        ratio = f" ({short(middle / percentile(own, 0.5))}×)" if own else ""
        return f"{short(middle)} / {short(percentile(samples, 0.99))}{ratio}"

    return cell


def _rate(ours: dict[str, Any] | None) -> Cell:
    def cell(system: dict[str, Any]) -> str:
        found, own = rate(system), rate(ours) if ours and ours is not system else None
        if found is None:
            return NONE
        return short(found) + (f" ({short(found / own)}×)" if own else "")

    return cell


def _sizes(systems: list[dict[str, Any]], time: Time) -> str:
    return ", ".join(str(len(samples)) for system in systems if (samples := pooled(system, time)))


def _strategy(name: str) -> Cell:
    """What was seen, not what is promised."""

    def cell(system: dict[str, Any]) -> str:
        found = played(system, {"enqueue": "queue"}.get(name, name))
        if not found:
            return NONE
        if name == "reject" and not all(each["refused"] for each in found):
            return "no: the second was accepted"
        if name == "rollback" and any(each["left"] for each in found):
            return "not always: see below"
        return "composed" if name in system["composed"] else "yes"

    return cell


def _count(scenario: str, count: str, of: str) -> Cell:
    def cell(system: dict[str, Any]) -> str:
        found = total(system, scenario, count)
        return NONE if found is None else f"{found} of {total(system, scenario, of)}"

    return cell


COUNTS: Final[list[tuple[str, Cell]]] = [
    ("overlaps while queued", _count("queue", "overlaps", "runs")),
    ("order inversions while queued", _count("queue", "inversions", "runs")),
    ("not finished in time while queued", _count("queue", "unfinished", "runs")),
    ("overlaps when interrupted", _count("interrupt", "overlaps", "runs")),
    ("overlaps when rolled back", _count("rollback", "overlaps", "runs")),
    ("rolled-back inputs left in the state", _count("rollback", "left", "rolled_back")),
    ("open at kill -9", _count("kill", "open_at_kill", "accepted")),
    ("inputs lost by kill -9", _count("kill", "lost", "accepted")),
    ("overlaps around kill -9", _count("kill", "overlaps", "accepted")),
    ("order inversions around kill -9", _count("kill", "inversions", "accepted")),
]


def _configured(system: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    return f"- **{system['title']}** ({versions or system['not_run']}): {system['configured']} After {system['page']}."
