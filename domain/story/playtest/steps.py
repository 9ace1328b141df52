"""What a machine is made of: spots where a play can stand, what is met there, and the steps from one to the next."""

from __future__ import annotations

from typing import Final

from domain.story.playtest.rooms import Spot
from domain.story.playtest.slots import Slot
from domain.story.program import Choice
from domain.story.variable_tree import Change

ONWARD: Final = -1
"""What stands for a choice where a play goes on into the next scene."""


class Edge:
    """One step: what is kept of a state, what is added, and the slots whose new value depends on the old one."""

    __slots__ = ("bits", "keep", "moved", "position")

    def __init__(self, keep: int, bits: int, moved: tuple[tuple[Slot, tuple[Change, ...], dict[int, int]], ...],
                 position: int) -> None:
        self.keep, self.bits, self.moved, self.position = keep, bits, moved, position

    def follow(self, state: int) -> int:
        """The state after the step."""
        after = state & self.keep | self.bits
        for slot, changes, known in self.moved:
            number = state >> slot.shift & slot.mask
            then = known.get(number)
            if then is None:
                then = known[number] = slot.after(number, changes)
            after |= then << slot.shift
        return after


class Met:
    """What a play meets at a node with certain values: the choices offered, and how each condition turned out.

    ``hits`` counts the states in which that was met, ``first`` is the first of them. ``over``: the story ends here.
    ``sums`` are the running sums of the weights where the dice decide.
    """

    __slots__ = ("edges", "first", "hits", "missing", "outcomes", "over", "sums")

    def __init__(self, edges: tuple[Edge, ...], outcomes: tuple[tuple[int, bool], ...], missing: tuple[int, ...],
                 over: bool, sums: tuple[float, ...]) -> None:
        self.edges, self.outcomes, self.missing, self.over = edges, outcomes, missing, over
        self.sums = sums
        self.hits = 0
        self.first = -1


class Stand:
    """A spot of the machine: what can be read there, and what was met there so far."""

    __slots__ = ("edges", "known", "place", "read", "seen", "spot")

    def __init__(self, spot: Spot, place: int, seen: tuple[Choice, ...], read: int) -> None:
        self.spot, self.place, self.seen, self.read = spot, place, seen, read
        self.known: dict[int, Met] = {}
        self.edges: tuple[Edge, ...] | None = None
