"""A story and a point of view as a machine: a state is one whole number, a step is a mask and a sum.

A state holds where the play stands, the dice where a seed is given, and the number of every slot's value. Slots that
nothing can read any more before they are set anew are held at 0: states that differ in nothing else are one state.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from domain.story.dice import MODULUS
from domain.story.play import Story
from domain.story.playtest.effects import Effects
from domain.story.playtest.living import living
from domain.story.playtest.rooms import Spot, doors, final, may_leave, place_of, shape, spot_node
from domain.story.playtest.slots import Effect, Slot, tree
from domain.story.playtest.steps import ONWARD, Edge, Met, Stand
from domain.story.playtest.survey import Survey
from domain.story.variable_tree import MISSING, Change, Variables, found


class Machine:
    """Made once for a story, a point of view, the variables to begin with, and a seed where chance is not left open."""

    def __init__(self, story: Story, survey: Survey, pov: str, variables: Mapping[str, Any] | None,
                 seed: int | None) -> None:
        self.story, self.survey, self.pov, self.seed = story, survey, pov, seed
        self.shape = shape(story, pov)
        first: Variables = {**story.variables, **(variables or {})}
        self.effects = Effects(story, survey, pov, self.shape, first)
        self.slots = self.effects.slots
        self.position_mask = (1 << max(1, len(self.shape.spots).bit_length())) - 1
        self.dice_shift = self.position_mask.bit_length()
        top = self.dice_shift + (0 if seed is None else 32)
        for slot in self.slots:
            top = slot.place(top)
        self.bits = top
        self.live = living(self.effects, 0 if seed is None else (MODULUS - 1) << self.dice_shift)
        self._gate_reads: dict[int, int] = {}
        self._entries: dict[tuple[str, int, str], Edge] = {}
        self.stands: list[Stand] = [self._stand(spot) for spot in self.shape.spots]
        self.start = self._begin(first)

    # --- where a play can stand ---------------------------------------------------------------------------------------

    def _stand(self, spot: Spot) -> Stand:
        seen, read = self.effects.seen(spot), self.effects.read_at(spot)
        if may_leave(seen) and not final(self.story, spot[0], spot[1]):
            read |= self._reads_of_gate(spot[0] + 1) & ~self.effects.fixed_mask(self.effects.leavings[spot[1]])
        return Stand(spot, place_of(self.survey, spot), seen, read)

    def _reads_of_gate(self, gate: int) -> int:
        pending = []
        while gate < len(self.story.entries) and gate not in self._gate_reads:
            pending.append(gate)
            if any(not one.tests for _, one in doors(self.story, gate, self.pov)):
                break
            gate += 1
        mask = self._gate_reads.get(gate, 0)
        for one in reversed(pending):
            for door, _ in doors(self.story, one, self.pov):
                mask |= self.effects.read_by(one, door)
            self._gate_reads[one] = mask
        return mask

    # --- steps --------------------------------------------------------------------------------------------------------

    def met(self, stand: Stand, state: int) -> Met:
        """What is met at a spot in a state: asked once for all states that look the same there."""
        outcomes: list[tuple[int, bool]] = []
        missing: list[int] = []
        if stand.edges is None:
            stand.edges = tuple(
                self._edge(self.effects.of_choice(stand.spot, choice),
                           self.shape.spots[stand.spot[0], stand.spot[1], choice.target], choice.index)
                for choice in stand.seen
            )
        offered = [
            position for position, choice in enumerate(stand.seen)
            if self._hold(self.effects.rules_at(stand.spot, choice), state, outcomes, missing)
        ]
        edges = tuple(stand.edges[position] for position in offered)
        over = False
        if not offered:
            onward = None
            if not final(self.story, stand.spot[0], stand.spot[1]):
                onward = self._onward(stand.spot, state, outcomes, missing)
            over = onward is None
            edges = () if onward is None else (onward,)
        drawn = self.seed is not None and offered and spot_node(self.story, stand.spot).manner == "chance"
        sums = tuple(accumulate(stand.seen[position].weight for position in offered)) if drawn else ()
        return Met(edges, tuple(outcomes), tuple(missing), over, sums)

    def _hold(self, rules: tuple[int, ...], state: int, outcomes: list[tuple[int, bool]], missing: list[int]) -> bool:
        """Whether conditions hold together; every one is asked, so that each shows both of its sides."""
        together = True
        for one in rules:
            slot = self.slots[self.effects.slot_of[one]]
            value = slot.values[state >> slot.shift & slot.mask]
            rule = self.survey.rules[one]
            if value is MISSING and rule.document["operator"] not in ("exists", "not_exists"):
                missing.append(one)
            held = rule.test(tree(slot.path, value))
            outcomes.append((one, held))
            together = together and held
        return together

    def _onward(self, spot: Spot, state: int, outcomes: list[tuple[int, bool]], missing: list[int]) -> Edge | None:
        """The step into the next scene that may be played, or nothing."""
        leaving = self.effects.leavings[spot[1]]
        left = state
        for one, value in leaving.set.items():
            slot = self.slots[one]
            left = left & ~(slot.mask << slot.shift) | slot.number(value) << slot.shift
        return self._enter(spot[0] + 1, left, outcomes, missing, spot[1])

    def _enter(self, gate: int, state: int, outcomes: list[tuple[int, bool]], missing: list[int],
               left: str = "") -> Edge | None:
        for entry in range(gate, len(self.story.entries)):
            for door, one in doors(self.story, entry, self.pov):
                if self._hold(self.survey.rules_of_door[entry, door], state, outcomes, missing):
                    return self._entering(left, entry, one.scene)
        return None

    def _entering(self, left: str, entry: int, scene: str) -> Edge:
        known = self._entries.get((left, entry, scene))
        if known is None:
            target = self.shape.spots[entry, scene, self.story.scenes[scene].start]
            known = self._edge(self.effects.entering(left, scene), target, ONWARD)
            self._entries[left, entry, scene] = known
        return known

    def _begin(self, first: Variables) -> int | None:
        """The first state, or nothing where no scene may begin. ``opening`` keeps what the first gates were asked."""
        outside = 0
        for slot in self.slots:
            outside |= slot.number(found(first, slot.path)) << slot.shift
        outcomes: list[tuple[int, bool]] = []
        missing: list[int] = []
        edge = self._enter(0, outside, outcomes, missing)
        self.opening = Met(() if edge is None else (edge,), tuple(outcomes), tuple(missing), edge is None, ())
        self.opening.hits, self.opening.first = 1, 0
        if edge is None:
            return None
        dice = 0 if self.seed is None else (self.seed % MODULUS) << self.dice_shift
        return edge.follow(outside | dice)

    def _edge(self, effect: Effect, target: int, position: int) -> Edge:
        live = self.live[target]
        keep, bits = live & ~self.effects.fixed_mask(effect) & ~self.effects.mask(effect.moved), target
        for one, value in effect.set.items():
            slot = self.slots[one]
            bits |= (slot.number(value) << slot.shift) & live
        moved: tuple[tuple[Slot, tuple[Change, ...], dict[int, int]], ...] = tuple(
            (self.slots[one], tuple(changes), {}) for one, changes in effect.moved.items()
            if live >> self.slots[one].shift & 1
        )
        return Edge(keep, bits, moved, position)
