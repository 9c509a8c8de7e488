"""Whether the calls on something small, such as a setting, can be put in an order in which each answer is right.

The search of Wing and Gong: next in the order is any call that began before the first of those that are left was
answered. What was tried once, the same calls done and the same value left, is not tried again (Lowe).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final


class Anything:
    """A value that is not known before the first reading."""


ANYTHING: Final = Anything()


@dataclass(slots=True, frozen=True)
class Op:
    """reads, writes  a value, None for none; one that does both reads what it wrote over
    certain           False for a call whose outcome is not known: it takes effect between its beginning and `ended`,
                      the last moment at which it can, or never
    """

    began: float
    ended: float = math.inf
    reads: Hashable = None
    writes: Hashable = None
    certain: bool = True


def orderable(ops: Sequence[Op], initial: Hashable = ANYTHING) -> bool:
    ordered = sorted(ops, key=lambda op: op.began)
    needed = sum(1 << place for place, op in enumerate(ordered) if op.certain)
    tried: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & needed == needed:
            return True
        if (done, value) in tried:
            continue
        tried.add((done, value))
        stack += reversed(list(_following(ordered, done, value)))
    return False


def _following(ordered: list[Op], done: int, value: Hashable) -> list[tuple[int, Hashable]]:
    first_answer, found = math.inf, []
    newest = ordered[done.bit_length() - 1].began if done else -math.inf
    for place, op in enumerate(ordered):
        if op.began > first_answer:
            break
        if done >> place & 1:
            continue
        if op.certain:
            first_answer = min(first_answer, op.ended)
        elif op.ended < newest:
            continue
        if op.reads is None or value is ANYTHING or op.reads == value:
            after = op.writes if op.writes is not None else op.reads if op.reads is not None else value
            found.append((op, place, after))
    # One that began after the answer of another that is left cannot be next.
    return [(done | 1 << place, after) for op, place, after in found if op.began <= first_answer]
