"""The walks of test_walk that take minutes: four runs in flight, and three with what is left of each. And that what a
situation leaves out makes no difference.

scripts/deep walk
"""

import sys

from tests.unit.alike import answer_alike
from tests.unit.possible_commands import Bounds
from tests.unit.walk import Walk

if __name__ == "__main__":
    compared = answer_alike(Bounds(2, workers=True))
    assert compared > 300, "hardly any threads are alike"
    sys.stdout.write(f"{compared} threads answer as those that are taken for the same\n")
    for bounds in (
        Bounds(3, workers=True, ever=3),
        Bounds(4, workers=True),
        Bounds(2, workers=True, queue_words="all"),
        Bounds(3, workers=True, steering=True),
        Bounds(3, workers=True, editing=True),
    ):
        walk = Walk(bounds)
        walk.go()  # raises a counterexample, which says the calls in words
        sys.stdout.write(f"{walk.figures()}\n")
