"""What `situations` leaves out of a thread makes no difference: all that are taken for the same get the same
answers."""

from collections import Counter, defaultdict

from doubletext_statemachine import commands
from tests.unit.possible_commands import Bounds, calls
from tests.unit.situations import Situation
from tests.unit.thread_rows import World
from tests.unit.walk import Node, Walk


class Likes(Walk):
    """A walk that keeps of each situation other threads too, in which as many attempts and steps have been made."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.alike: defaultdict[Situation, dict[object, Node]] = defaultdict(dict)

    def of(self, node: Node) -> Situation:
        key = super().of(node)
        stopping = node.world.thread.stopping if node.world.thread else None
        done = [
            (run.reason, run.attempt, run.epoch, run.last_step - (run.base_step or 0)) for run in node.world.in_flight
        ]
        self.alike[key][*done, stopping and stopping.grace_until - node.now] = node
        return key

    def leads_to(self, node: Node) -> Counter[object]:
        """What is answered, and to which situation that leads."""
        answers: Counter[object] = Counter()
        for request in calls(node.world, self.bounds):
            if _can_be_asked_of_all_alike(node.world, request):
                before = self.met.copy()
                further = super().of(node._replace(world=self.put(node, request)))[:-1]
                answers[type(request), further, *(self.met - before)] += 1
        return answers


def _can_be_asked_of_all_alike(world: World, request: commands.Command) -> bool:
    """Nothing that names what is over: how much of that there is differs."""
    if isinstance(request, commands.AdmitRun):
        return request.request_id not in world.asked
    if not isinstance(request, commands.RunCommand):
        return True
    stopping = world.thread.stopping if world.thread else None
    awaited = isinstance(request, commands.LeaseCommand) and stopping is not None and request.run_id == stopping.run_id
    return awaited or any(run.run_id == request.run_id for run in world.in_flight)


def answer_alike(bounds: Bounds) -> int:
    """Walk, and compare the answers of those that are alike. Return how many threads there were beside the first."""
    walk = Likes(bounds)
    walk.go()
    compared = 0
    for key, node in walk.nodes.items():
        expected = walk.leads_to(node)
        for other in walk.alike[key].values():
            assert walk.leads_to(other) == expected
            compared += other != node
    return compared
