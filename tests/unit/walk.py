"""Breadth first from a thread that does not exist: each call in each situation, until no new situation comes up.

Breadth first, so that what is found first has the shortest sequence of calls that leads to it. Time passes between
calls as it likes, and is none itself.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from doubletext_statemachine import commands, errors
from doubletext_statemachine.arbiter import decide
from tests.unit.command_rules import refused_rightly
from tests.unit.counterexample import Call, Found
from tests.unit.invariants import judge
from tests.unit.play import START
from tests.unit.possible_commands import Bounds, calls
from tests.unit.situations import Situation, situation, something_is_ahead
from tests.unit.state_rules import standing
from tests.unit.thread_rows import World


class Node(NamedTuple):
    """A situation, and how the walk has come there: the call, and the node where it was made."""

    world: World
    now: int
    parent: "Node | None" = None
    call: commands.Command | None = None

    def path(self) -> list[Call]:
        """The calls that lead here, each with its time."""
        if self.parent is None or self.call is None:
            return []
        return [*self.parent.path(), (self.called, self.call)]

    @property
    def called(self) -> int:
        """When the call was made that led here."""
        return self.parent.now if self.parent else self.now


class Walk:
    """Goes through every situation within its bounds. `met`: how often each kind of request was carried out, and each
    kind of refusal given; `causes`: why leases were lost; `depth`: how many calls the farthest situation is away."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.nodes: dict[Situation, Node] = {}
        self.met: Counter[type] = Counter()
        self.causes: set[str] = set()
        self.made = self.late = self.depth = 0

    def go(self) -> None:
        """Raises Found at the first call that breaks an invariant."""
        level = [Node(World(), START)]
        self.nodes[self.of(level[0])] = level[0]
        while level := [further for node in level for further in self.from_here(node)]:
            self.depth += 1

    def figures(self) -> str:
        return f"{len(self.nodes)} situations, the farthest {self.depth} calls away, and {self.made} calls"

    def of(self, node: Node) -> Situation:
        return situation(node.world, node.now, remembers=self.bounds.ever is not None)

    def from_here(self, node: Node) -> Iterator[Node]:
        """The situations that are one call away and new."""
        for request in calls(node.world, self.bounds):
            self.made += 1
            after = self.put(node, request)
            if after is not node.world:
                yield from self.new(Node(after, node.now, node, request))

    def new(self, node: Node) -> Iterator[Node]:
        """The situation that a call has led to, and those that it becomes as time passes, up to the first that is
        known: what follows on that is known too."""
        while (key := self.of(node)) not in self.nodes:
            self.nodes[key] = node
            yield node
            if not something_is_ahead(node.world, node.now):
                return
            node = node._replace(now=node.now + 1)
            self.held(node)

    def put(self, node: Node, request: commands.Command) -> World:
        """The thread after the call, judged."""
        world, now = node.world, node.now
        try:
            try:
                made = decide(world.view(request), request, now)
            except errors.Refusal as refusal:
                refused_rightly(world, request, refusal, now)
                self.met[type(refusal)] += 1
                if isinstance(refusal, errors.LeaseLost):
                    self.causes.add(refusal.facts["cause"])
                return world
            after = world.after(request, made, now)
            judge(world, request, made, now, after)
        except Exception as broken:
            raise Found([*node.path(), (now, request)], now, broken) from broken
        self.met[type(request)] += 1
        self.late += made.refusal is not None
        return after

    def held(self, node: Node) -> None:
        """The invariants that speak of states, once time has passed."""
        try:
            standing(node.world, node.now)
        except AssertionError as broken:
            raise Found(node.path(), node.now, broken) from broken
