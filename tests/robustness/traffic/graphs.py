"""The graph that the server itself executes in the soak."""

from doubletext import Graph
from tests.support.graphs import wandering

strolling = Graph(wandering.function, "strolling")
