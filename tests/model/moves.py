"""Moves: rules of a machine, each with a weight.

Hypothesis leaves most of many rules out of most sequences. Here the sequences are few, and much is to happen in each:
so the rules are one rule, which draws a move.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

F = TypeVar("F", bound=Callable[..., None])


def move(weight: int, **arguments: st.SearchStrategy[Any]) -> Callable[[F], F]:
    """Let the method be a move of its machine, with arguments from these strategies."""

    def mark(method: F) -> F:
        method.move = weight, st.fixed_dictionaries(arguments)  # type: ignore[attr-defined]
        return method

    return mark


def by_weight(found: tuple[str, tuple[int, Any]]) -> tuple[int, str]:
    """The commonest first: hypothesis likes the beginning."""
    name, (weight, _) = found
    return -weight, name


def rule_of(machine: type[Any]) -> Any:
    """The rule that plays one of the machine's moves."""
    found = {name: method.move for name in dir(machine) if hasattr(method := getattr(machine, name), "move")}
    names = [name for name, (weight, _) in sorted(found.items(), key=by_weight) for _ in range(weight)]
    moves = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), found[name][1]))

    @rule(move=moves)
    def play_a_move(self: Any, move: tuple[str, dict[str, Any]]) -> None:
        name, arguments = move
        getattr(self, name)(**arguments)

    return play_a_move
