"""Shrink a failing sequence to one that still fails and from which nothing can be left out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Step = TypeVar("Step")


def shrink(steps: Sequence[Step], fails: Callable[[list[Step]], bool], tries: int) -> list[Step]:
    """Return the shortest failing sequence found in so many tries; parts are left out in order.

    Source: the minimising delta debugging of Zeller and Hildebrandt, IEEE TSE 28 (2002).
    """
    shortest, size = list(steps), max(len(steps) // 2, 1)
    while tries > 0:
        start, before = 0, len(shortest)
        while start < len(shortest) and tries > 0:
            without = shortest[:start] + shortest[start + size :]
            tries -= 1
            if without and fails(without):
                shortest = without
            else:
                start += size
        if size == 1 and len(shortest) == before:
            break
        size = max(size // 2, 1)
    return shortest
