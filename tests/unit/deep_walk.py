"""The walk of test_walk with four runs in flight, which takes minutes.   scripts/deep walk"""

import sys

from tests.unit.possible_commands import Bounds
from tests.unit.walk import Walk

if __name__ == "__main__":
    walk = Walk(Bounds(4, workers=True))
    walk.go()  # a counterexample is raised, and told in words
    sys.stdout.write(f"{walk.figures()}\n")
