"""The walks of test_walk that take minutes: four runs in flight, and three with what is left of each.

scripts/deep walk
"""

import sys

from tests.unit.possible_commands import Bounds
from tests.unit.walk import Walk

if __name__ == "__main__":
    for bounds in (Bounds(3, workers=True, ever=3), Bounds(4, workers=True)):
        walk = Walk(bounds)
        walk.go()  # raises a counterexample, which says the calls in words
        sys.stdout.write(f"{walk.figures()}\n")
