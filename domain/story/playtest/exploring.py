"""Every state that a story can come to, breadth first, within bounds that are told when they are reached."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from domain.story.dice import MODULUS, Dice, fallen
from domain.story.playtest.machine import Machine
from domain.story.playtest.steps import ONWARD, Met, Stand

PACE: Final = 4096
"""States between two words about how far it is."""

REMEMBERED: Final = 200_000
"""Most meetings kept apart before they are summed up; a story of a great many variables must not fill the memory."""

STATE_BYTES: Final = 240
"""What a state costs besides its own digits: its place in the dictionary, its edges and where it came from."""

BROAD: Final = 70
"""Per cent of the states that are looked for breadth first; the rest goes to what was met least."""

NOWHERE: Final = 0xFFFF
"""Stands in ``vias`` for the step into the next scene."""


class Bounds(NamedTuple):
    """How far an exploration goes. ``depth`` counts steps from the beginning; ``memory`` is in bytes."""

    states: int = 200_000
    transitions: int = 2_000_000
    depth: int = 1_000_000
    memory: int = 1_500_000_000


@dataclass(slots=True)
class Counted:
    """Sums over all states: per place, choice and condition, each with the first state in which it was met."""

    places: dict[int, list[int]] = field(default_factory=dict)
    offered: dict[int, list[int]] = field(default_factory=dict)
    taken: dict[int, list[int]] = field(default_factory=dict)
    held: dict[int, list[int]] = field(default_factory=dict)
    failed: dict[int, list[int]] = field(default_factory=dict)
    missing: dict[int, list[int]] = field(default_factory=dict)
    over: dict[int, list[int]] = field(default_factory=dict)
    stuck: dict[int, list[int]] = field(default_factory=dict)


def add(sums: dict[int, list[int]], key: int, hits: int, first: int) -> None:
    known = sums.get(key)
    if known is None:
        sums[key] = [hits, first]
        return
    known[0] += hits
    if first < known[1]:
        known[1] = first


class Explored:
    """What an exploration found. State 0 is the beginning; ``parents`` and ``ways_in`` lead back to it.

    ``heads[i] : tails[i]`` are the edges of state ``i`` in ``targets`` and ``vias``. ``reached`` names the bounds that
    were reached; ``cut`` marks the states from which not every step was followed.
    """

    def __init__(self, machine: Machine, bounds: Bounds) -> None:
        self.machine = machine
        self.bounds = bounds
        self.spots = array("I")
        self.parents = array("i")
        self.ways_in = array("H")
        self.heads = array("I")
        self.tails = array("I")
        self.targets = array("I")
        self.vias = array("H")
        self.over = bytearray()
        self.cut = bytearray()
        self.counted = Counted()
        self.reached: set[str] = set()
        self.depth = 0
        self.looked = 0
        self.started = machine.start is not None
        self._kept = 0
        self._seen: dict[int, int] = {}
        self._visits = array("I", bytes(4 * len(machine.stands)))
        self._allowed = max(1, min(bounds.states, bounds.memory // (STATE_BYTES + machine.bits // 7)))
        self._full = "states" if self._allowed == bounds.states else "memory"

    @property
    def states(self) -> int:
        return len(self.spots)

    @property
    def transitions(self) -> int:
        return len(self.targets)

    @property
    def frontier(self) -> int:
        return sum(self.cut)

    @property
    def complete(self) -> bool:
        return not self.reached

    def way_to(self, state: int) -> list[int]:
        """The choices (their index at their node, ``NOWHERE`` into the next scene) that lead to a state, from 0."""
        way = []
        while state:
            way.append(self.ways_in[state])
            state = self.parents[state]
        return way[::-1]

    def run(self) -> Iterator[int]:
        """Explores; yields the number of states looked at now and then, and may be left at any of these moments."""
        if self.machine.start is None:
            self.sum_up()
            return
        level = [(0, self.machine.start)]
        self._found(self.machine.start, -1, NOWHERE)
        later: list[tuple[int, int]] = []
        broad = max(1, self._allowed * BROAD // 100)
        while level and self.depth <= self.bounds.depth and len(self._seen) < broad:
            for number, state in level:
                self._look(number, state, later)
                if self.looked % PACE == 0:
                    yield self.looked
            level, later = later, []
            self.depth += 1
        if level and self.depth > self.bounds.depth:
            self.reached.add("depth")
        elif level:
            yield from self._prospect(level)
        self._seen = {}
        self.sum_up()
        yield self.looked

    def _prospect(self, level: list[tuple[int, int]]) -> Iterator[int]:
        """Where not every state can be kept, spends the rest on what was met least."""
        visits, mask = self._visits, self.machine.position_mask
        waiting = [(visits[state & mask], number, state) for number, state in level]
        heapq.heapify(waiting)
        later: list[tuple[int, int]] = []
        while waiting:
            _, number, state = heapq.heappop(waiting)
            self._look(number, state, later)
            for after, found in later:
                heapq.heappush(waiting, (visits[found & mask], after, found))
            later.clear()
            if self.looked % PACE == 0:
                yield self.looked

    def _found(self, state: int, parent: int, way: int) -> int:
        spot = state & self.machine.position_mask
        number = self._seen[state] = len(self.spots)
        self.spots.append(spot)
        self.parents.append(parent)
        self.ways_in.append(way)
        self.heads.append(0)
        self.tails.append(0)
        self.over.append(0)
        self.cut.append(1)
        self._visits[spot] += 1
        return number

    def _look(self, number: int, state: int, later: list[tuple[int, int]]) -> None:
        """Takes every step from a state."""
        machine, seen, targets = self.machine, self._seen, self.targets
        if len(targets) > self.bounds.transitions:
            self.reached.add("transitions")
            return
        stand = machine.stands[state & machine.position_mask]
        met = stand.known.get(state & stand.read)
        if met is None:
            met = self._meet(stand, number, state)
        self.looked += 1
        met.hits += 1
        edges, cut = met.edges, 0
        if met.sums:
            state, edges = self._drawn(number, state, met, stand.place)
        self.heads[number] = len(targets)
        for edge in edges:
            after = edge.follow(state)
            target = seen.get(after)
            if target is None:
                if len(seen) >= self._allowed:
                    self.reached.add(self._full)
                    cut = 1
                    continue
                target = self._found(after, number, edge.position & NOWHERE)
                later.append((target, after))
            targets.append(target)
            self.vias.append(edge.position & NOWHERE)
        self.tails[number] = len(targets)
        self.cut[number] = cut
        self.over[number] = met.over

    def _meet(self, stand: Stand, number: int, state: int) -> Met:
        self._kept += 1
        if self._kept > REMEMBERED:
            self.sum_up()
        met = stand.known[state & stand.read] = self.machine.met(stand, state)
        met.first = number
        return met

    def _drawn(self, number: int, state: int, met: Met, place: int) -> tuple[int, tuple[Any, ...]]:
        """The one step that the dice decide, and the state with the dice after it."""
        shift = self.machine.dice_shift
        before = state >> shift & (MODULUS - 1)
        index, dice = fallen(Dice(0, before, 0), met.sums)
        chosen = met.edges[index]
        way = self.machine.survey.first_way[place] + chosen.position
        add(self.counted.taken, way, 1, number)
        return state ^ (before ^ dice.value) << shift, (chosen,)

    def sum_up(self) -> None:
        """Adds what was met to the sums, and forgets it."""
        machine = self.machine
        self._kept = 0
        for stand in machine.stands:
            for met in stand.known.values():
                self._sum(stand.place, met)
            stand.known = {}
        self._sum_rules(machine.opening)
        machine.opening.hits = 0

    def _sum(self, place: int, met: Met) -> None:
        counted, first_way = self.counted, self.machine.survey.first_way[place]
        if not met.hits:
            return
        add(counted.places, place, met.hits, met.first)
        for edge in met.edges:
            if edge.position != ONWARD:
                add(counted.offered, first_way + edge.position, met.hits, met.first)
                if not met.sums:
                    add(counted.taken, first_way + edge.position, met.hits, met.first)
        if met.over:
            add(counted.over, place, met.hits, met.first)
        if not met.edges or met.edges[0].position == ONWARD:
            add(counted.stuck, place, met.hits, met.first)
        self._sum_rules(met)

    def _sum_rules(self, met: Met) -> None:
        if not met.hits:
            return
        for rule, held in met.outcomes:
            add(self.counted.held if held else self.counted.failed, rule, met.hits, met.first)
        for rule in met.missing:
            add(self.counted.missing, rule, met.hits, met.first)
