"""The bugs that are planted: at which points of the code, and what goes wrong by it."""

from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants import points
from tests.mutants.points import DoesNotFit, Operation, Point, mutated

ROOT: Final = Path(__file__).parents[2]


class Mutant(NamedTuple):
    """`edits`: what is done at which point; all points are of one file."""

    what: str
    edits: tuple[tuple[str, Operation], ...]

    def planted(self, known: dict[str, Point]) -> tuple[Path, str]:
        """The file, and its text with the bug in it. Raises DoesNotFit when the code has another form by now."""
        at = [known.get(name) for name, _ in self.edits]
        missing = [name for (name, _), point in zip(self.edits, at, strict=True) if point is None]
        if missing:
            raise DoesNotFit(f"no point is called {', '.join(missing)}")
        there = sorted(
            (
                (point.line, point.file, operation)
                for point, (_, operation) in zip(at, self.edits, strict=True)
                if point
            ),
            key=lambda each: -each[0],  # from the end on, so that the lines before stay where they are
        )
        file = there[0][1]
        text = file.read_text("utf-8")
        for line, _, operation in there:
            text = mutated(text, line, operation)
        return file, text


def known_points(root: Path = ROOT) -> dict[str, Point]:
    """All points of the product, by name. Raises ValueError for a name that stands twice."""
    files = sorted(
        file for folder in ("server", "statemachine", "doubletext") for file in (root / folder).rglob("*.py")
    )
    found: dict[str, Point] = {}
    for point in points.points(files):
        if point.name in found:
            raise ValueError(f"two points are called {point.name}: {found[point.name].file} and {point.file}")
        found[point.name] = point
    return found


def mutant(what: str, name: str, operation: Operation, *more: tuple[str, Operation]) -> Mutant:
    return Mutant(what, ((name, operation), *more))


MUTANTS: Final = (
    # Leases
    mutant("a lease's epoch is not looked at", "lease-epoch", points.condition("False")),
    mutant("a lease is held at the instant at which it is over", "lease-over", points.compare("<=", "<")),
    mutant("a run gets one attempt more than it may have", "attempts-left", points.compare("<", "<=")),
    mutant("handing a run back uses up an attempt", "release-attempt", points.without_argument("attempts")),
    mutant("a run that is taken over gets its input a second time", "input-once", points.condition("True")),
    mutant("a worker may finish what the server itself executes", "workers-own", points.condition("False")),
    mutant("a heartbeat lets a stopped attempt go on past its grace", "grace-end", points.call("min", "_1")),
    # Admission and supersession
    mutant("REJECT is no guard of an admission", "reject-guard", points.without_first),
    mutant(
        "a queue takes one run more than it has room for",
        "queue-limit",
        points.value("move.queued <= _limit(move) + 1"),
    ),
    mutant("SUPERSEDE lets those go on that wait", "stop-all", points.condition("False")),
    mutant("MERGE ends nobody whose input it takes", "merge-all", points.drop),
    mutant("INTERRUPT waits behind those that KEEP keeps", "first-in-line", points.condition("False")),
    mutant("what steers waits behind all others", "steer-first", points.drop),
    mutant("a message is absorbed and goes on waiting", "absorb-once", points.drop),
    mutant("a run takes what was said to another assistant", "steers-its-own", points.condition("False")),
    mutant("a run is admitted though another one is running than expected", "expected-run", points.condition("False")),
    mutant("a run is edited that has started", "edits-waiting", points.condition("False")),
    mutant("an edit overwrites another one", "edits-revision", points.condition("False")),
    mutant("a held thread starts runs", "held", points.condition("head is None")),
    mutant("a run that fails does not hold its thread", "hold-on-failure", points.condition("False")),
    mutant("what was merged outlives the run that took it", "merged-goes", points.condition("False")),
    mutant("a run that is late at this very moment starts", "late-at-once", points.compare("<=", "<")),
    mutant("a rollback leaves the run's input in the state", "cut", points.value("_ + 1")),
    mutant("a successor does not wait for the attempt that it stopped", "await-attempt", points.condition("False")),
    mutant(
        "a successor starts a moment late: at the end of the grace it still waits",
        "grace-over",
        points.compare("<", "<="),
    ),
    mutant(
        "runs that are due start in the order in which they became so", "due-order", points.call("max", "run.due_time")
    ),
    mutant(
        "the strategy is applied before the request id is looked up",
        "request-id-first",
        points.condition("_ and STRATEGIES[command.strategy_on(draft.view.thread)].ends is None"),
    ),
    mutant("a request id may be used again for something else", "request-id-digest", points.condition("False")),
    mutant("a run is refused by a thread as it was before the change that is under way", "busy-view", points.otherwise),
    # What is on disk
    mutant(
        "a superseded run is stopped in a commit of its own, before its successor is admitted",
        "one-commit",
        points.before(
            'if rows.admitted is not None and (rows.tombstones or rows.moved):\n    connection.execute("COMMIT")\n'
            '    connection.execute("BEGIN IMMEDIATE")'
        ),
    ),
    mutant(
        "an answer leaves before its commit",
        "commit-begin",
        points.before('if connection.in_transaction:\n    connection.execute("COMMIT")'),
        ("commit-end", points.drop),
    ),
    mutant("a commit is not synced to the disk", "synced", points.text("FULL", "OFF")),
    mutant(
        "a change that fails takes those with it that share its commit",
        "failed-batch",
        points.element("_as_refusal(error)"),
    ),
    mutant(
        "a rolled-back run's outputs stay in the file",
        "outputs-gone",
        points.text("json_array(json_extract(body, '$[0]'), NULL)", "body"),
    ),
    mutant(
        "a restart does not give up the runs that the server had in execution", "restart", points.condition("False")
    ),
    mutant("a thread gets what an earlier one of its id has left", "room-made", points.condition("False")),
    mutant("a step is added to what is left of one that was cut off", "cut-step", points.condition("True")),
    # Harm
    mutant(
        "a run is charged for one that came beside it and killed the process",
        "charged-twice",
        points.value("run"),
    ),
    mutant("what was answered and read is counted as unread for good", "unread", points.drop),
    # Those who wait
    mutant("a commit is not told when its caller is gone", "caller-gone", points.condition("_ and not future.done()")),
    mutant("a run that was offered to a claimer who hung up is offered to nobody else", "claimer-gone", points.drop),
    mutant("a join answers with the newest state, whatever came after its run", "left-state", points.value("None")),
    mutant(
        "what a watcher reads at the end of the log is not read on from there",
        "read-on",
        points.value("max(after, head)"),
    ),
)
