"""Places in a list that many people arrange at once: an item is put between two others without touching them.

A place is a short list of integers; items stand in the order of their places, compared from the left, and by their id
where two places are equal. Putting something somewhere therefore writes one item, whatever the length of the list,
and two branches that arrange different items merge without a conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

Place = tuple[int, ...]

GAP: Final = 2**16
"""Room between neighbours: so many bisections are free before a place grows by one integer (16)."""

LONGEST: Final = 24
"""Integers in a place before the whole list is laid out anew."""


def between(low: Place | None, high: Place | None) -> Place:
    """A place after ``low`` and before ``high``; ``None`` is the open end. ``low`` must be less than ``high``."""
    if low is None:
        return (0,) if high is None else (high[0] - GAP,)
    if high is None:
        return (low[0] + GAP,)
    assert low < high, "the first place comes before the second"
    index = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    if index == len(low):
        return (*low, high[index] - GAP)
    if high[index] - low[index] >= 2:
        return (*low[:index], (low[index] + high[index]) // 2)
    rest = low[index + 1 :]
    return (*low[: index + 1], rest[0] + GAP if rest else 0)


def spread(count: int) -> list[Place]:
    """Places for a new list of that many items."""
    return [(index * GAP,) for index in range(count)]


def kept(places: Sequence[Place]) -> set[int]:
    """Indexes of a largest set of items that are in order already, so that only the others need to move."""
    best: list[int] = []
    before: list[int | None] = [None] * len(places)
    for index, place in enumerate(places):
        low, high = 0, len(best)
        while low < high:
            middle = (low + high) // 2
            if places[best[middle]] < place:
                low = middle + 1
            else:
                high = middle
        before[index] = best[low - 1] if low else None
        best[low:] = [index] if low == len(best) else [index, *best[low + 1 :]]
    found: set[int] = set()
    last = best[-1] if best else None
    while last is not None:
        found.add(last)
        last = before[last]
    return found


def arranged(wanted: Sequence[Place | None]) -> list[Place]:
    """Places for items in the wanted order, given each item's present place (``None``: a new item).

    As few as possible change. All are laid out anew when a place would become too long.
    """
    standing = [(index, place) for index, place in enumerate(wanted) if place is not None]
    stay = {standing[index][0] for index in kept([place for _, place in standing])}
    result: list[Place | None] = [place if index in stay else None for index, place in enumerate(wanted)]
    after: list[Place | None] = [None] * (len(result) + 1)
    for index in range(len(result) - 1, -1, -1):
        after[index] = result[index] if result[index] is not None else after[index + 1]
    previous: Place | None = None
    for index, place in enumerate(result):
        previous = place if place is not None else between(previous, after[index])
        result[index] = previous
    final = [place for place in result if place is not None]
    assert all(a < b for a, b in pairwise(final)), "places grow"
    return spread(len(final)) if any(len(place) > LONGEST for place in final) else final
