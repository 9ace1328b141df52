"""A story and a point of view as a machine: a state is one whole number, a step is a mask and a sum.

A state holds where the play stands, the dice where a seed is given, and the number of every slot's value. Slots that
nothing can read any more before they are set anew are held at 0: states that differ in nothing else are one state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final

from domain.story.dice import MODULUS
from domain.story.play import Story
from domain.story.playtest.rooms import Shape, Spot, doors, final, may_leave, place_of, shape, spot_node
from domain.story.playtest.slots import Effect, Path, Slot, is_fixed, overlaps, path_of, tree
from domain.story.playtest.survey import Survey
from domain.story.program import Choice, Node
from domain.story.variable_tree import MISSING, Change, Variables, found

ONWARD: Final = -1
"""What stands for a choice where a play goes on into the next scene."""

Action = tuple[Mapping[str, Any], Change]


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


class Machine:
    """Made once for a story, a point of view, the variables to begin with, and a seed where chance is not left open."""

    def __init__(self, story: Story, survey: Survey, pov: str, variables: Mapping[str, Any] | None,
                 seed: int | None) -> None:
        self.story, self.survey, self.pov, self.seed = story, survey, pov, seed
        self.shape: Shape = shape(story, pov)
        self.spots: list[Spot] = list(self.shape.spots)
        self._actions: dict[tuple[str, str, int], tuple[Action, ...]] = {}
        self._by_root: dict[str, list[int]] = defaultdict(list)
        self.slots = self._slots()
        first: Variables = {**story.variables, **(variables or {})}
        self._settle(first)
        self.position_mask = (1 << max(1, len(self.spots).bit_length())) - 1
        self.dice_shift = self.position_mask.bit_length()
        top = self.dice_shift + (0 if seed is None else 32)
        for slot in self.slots:
            top = slot.place(top)
        self.bits = top
        self.live = self._living()
        self._gate_reads: dict[int, int] = {}
        self._entries: dict[tuple[str, int, str], Edge] = {}
        self.stands: list[Stand] = [self._stand(spot) for spot in self.spots]
        self.start = self._begin(first)

    # --- what there is ------------------------------------------------------------------------------------------------

    def _seen(self, spot: Spot) -> tuple[Choice, ...]:
        return spot_node(self.story, spot).seen_by(self.pov)

    def _slots(self) -> list[Slot]:
        survey = self.survey
        found_: dict[Path, Slot] = {}
        rules: set[int] = set()
        for spot in self.spots:
            first = survey.first_way[place_of(survey, spot)]
            for choice in self._seen(spot):
                rules.update(survey.rules_of_way[first + choice.index])
        for gate in self.shape.gates - {len(self.story.entries)}:
            for number, _ in doors(self.story, gate, self.pov):
                rules.update(survey.rules_of_door[gate, number])
        self.slot_of: dict[int, int] = {}
        for one in sorted(rules):
            rule = survey.rules[one]
            path = path_of(rule.document)
            slot = found_.get(path)
            if slot is None:
                self._by_root[path[0]].append(len(found_))
                slot = found_[path] = Slot(path)
            slot.tests.append((rule.test, rule.document))
        numbers = {path: number for number, path in enumerate(found_)}
        self.slot_of = {one: numbers[path_of(survey.rules[one].document)] for one in rules}
        return list(found_.values())

    def _touched(self, path: Path) -> list[int]:
        return [one for one in self._by_root.get(path[0], ()) if overlaps(path, self.slots[one].path)]

    def _steps(self) -> Iterable[tuple[Spot, Choice]]:
        return ((spot, choice) for spot in self.spots for choice in self._seen(spot))

    def _settle(self, first: Variables) -> None:
        """Finds which slots only ever hold listed values, and numbers those values."""
        actions = [action for spot, choice in self._steps() for action in _written(choice.document)]
        entered = {(spot[1], spot[2]): spot_node(self.story, spot) for spot in self.spots}
        actions += [action for node in entered.values() for action in _written(node.document)]
        for action in actions:
            path = path_of(action)
            for one in self._touched(path):
                if not is_fixed(action, self.slots[one].path):
                    self.slots[one].dynamic.append(action)
        for slot in self.slots:
            slot.settle()
            slot.number(found(first, slot.path))
            slot.number(MISSING)
        self._effects: dict[tuple[str, str, int], Effect] = {}
        for spot, choice in self._steps():
            self._effect(spot, choice)
        self._openings = {scene: self._opening(scene) for scene in {spot[1] for spot in self.spots}}
        self._leavings = {scene: self._leaving(scene) for scene in self._openings}

    def _effect(self, spot: Spot, choice: Choice) -> Effect:
        """What the slots become by a choice: its actions, then those of the node that it leads to."""
        key = (spot[1], spot[2], choice.index)
        known = self._effects.get(key)
        if known is None:
            known = self._effects[key] = Effect()
            self._apply(known, choice.document, choice.changes)
            node = self.story.scenes[spot[1]].nodes[choice.target]
            self._apply(known, node.document, node.changes)
            self._number(known)
        return known

    def _opening(self, scene: str) -> Effect:
        """What the slots become on entering a scene: its own variables, then the actions of its first node."""
        program, effect = self.story.scenes[scene], Effect()
        for name in program.variables:
            for one in self._by_root.get(name, ()):
                effect.fixed(one, found(program.variables, self.slots[one].path))
        node: Node = program.nodes[program.start]
        self._apply(effect, node.document, node.changes)
        self._number(effect)
        return effect

    def _leaving(self, scene: str) -> Effect:
        effect = Effect()
        for name in self.story.scenes[scene].variables:
            for one in self._by_root.get(name, ()):
                effect.fixed(one, MISSING)
        return effect

    def _apply(self, effect: Effect, document: Mapping[str, Any], changes: tuple[Change, ...]) -> None:
        for action, change in zip(_written(document), changes, strict=True):
            touched = self._touched(path_of(action))
            if touched:
                effect.changing(self.slots, touched, action, change)

    def _number(self, effect: Effect) -> None:
        for one, value in effect.set.items():
            self.slots[one].number(value)

    # --- what is still of use -----------------------------------------------------------------------------------------

    def _living(self) -> list[int]:
        """Per spot the bits that something may still read: backward from the readers, until nothing changes."""
        story, end = self.story, len(self.story.entries)
        gates = sorted(self.shape.gates)
        numbers = {("gate", gate): len(self.spots) + order for order, gate in enumerate(gates)}
        reads = [0] * (len(self.spots) + len(gates))
        leads: list[list[tuple[int, int]]] = [[] for _ in reads]
        for number, spot in enumerate(self.spots):
            seen = self._seen(spot)
            reads[number] = self._reads_of(spot, seen)
            for choice in seen:
                target = self.shape.spots[spot[0], spot[1], choice.target]
                leads[number].append((target, self._fixed_mask(self._effect(spot, choice))))
            if may_leave(seen) and not final(story, spot[0], spot[1]):
                leads[number].append((numbers["gate", spot[0] + 1], self._fixed_mask(self._leavings[spot[1]])))
        for gate in gates:
            number = numbers["gate", gate]
            if gate == end:
                continue
            passable = True
            for door, one in doors(story, gate, self.pov):
                reads[number] |= self._mask(self.slot_of[rule] for rule in self.survey.rules_of_door[gate, door])
                target = self.shape.spots[gate, one.scene, story.scenes[one.scene].start]
                leads[number].append((target, self._fixed_mask(self._openings[one.scene])))
                passable = passable and bool(one.tests)
            if passable:
                leads[number].append((numbers["gate", gate + 1], 0))
        return _backward(reads, leads)[: len(self.spots)]

    def _reads_of(self, spot: Spot, seen: tuple[Choice, ...]) -> int:
        first = self.survey.first_way[place_of(self.survey, spot)]
        mask = self._mask(
            self.slot_of[rule] for choice in seen for rule in self.survey.rules_of_way[first + choice.index]
        )
        if self.seed is not None and spot_node(self.story, spot).manner == "chance":
            mask |= (MODULUS - 1) << self.dice_shift
        return mask

    def _mask(self, numbers: Iterable[int]) -> int:
        mask = 0
        for one in numbers:
            mask |= self.slots[one].mask << self.slots[one].shift
        return mask

    def _fixed_mask(self, effect: Effect) -> int:
        return self._mask(effect.set)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _edge(self, effect: Effect, target: int, position: int) -> Edge:
        live = self.live[target]
        keep, bits = live & ~self._mask(effect.set) & ~self._mask(effect.moved), target
        for one, value in effect.set.items():
            slot = self.slots[one]
            bits |= (slot.number(value) << slot.shift) & live
        moved: tuple[tuple[Slot, tuple[Change, ...], dict[int, int]], ...] = tuple(
            (self.slots[one], tuple(changes), {}) for one, changes in effect.moved.items()
            if live >> self.slots[one].shift & 1
        )
        return Edge(keep, bits, moved, position)

    def _stand(self, spot: Spot) -> Stand:
        seen = self._seen(spot)
        read = self._reads_of(spot, seen) & ~((MODULUS - 1) << self.dice_shift if self.seed is not None else 0)
        if may_leave(seen) and not final(self.story, spot[0], spot[1]):
            read |= self._reads_of_gate(spot[0] + 1) & ~self._fixed_mask(self._leavings[spot[1]])
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
                mask |= self._mask(self.slot_of[rule] for rule in self.survey.rules_of_door[one, door])
            self._gate_reads[one] = mask
        return mask

    def met(self, stand: Stand, state: int) -> Met:
        """What is met at a spot in a state: asked once for all states that look the same there."""
        outcomes: list[tuple[int, bool]] = []
        missing: list[int] = []
        if stand.edges is None:
            stand.edges = tuple(
                self._edge(self._effect(stand.spot, choice),
                           self.shape.spots[stand.spot[0], stand.spot[1], choice.target], choice.index)
                for choice in stand.seen
            )
        first = self.survey.first_way[stand.place]
        offered = [
            position for position, choice in enumerate(stand.seen)
            if self._hold(self.survey.rules_of_way[first + choice.index], state, outcomes, missing)
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
            slot = self.slots[self.slot_of[one]]
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
        leaving = self._leavings[spot[1]]
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
            leaving = self._leavings[left] if left else None
            target = self.shape.spots[entry, scene, self.story.scenes[scene].start]
            known = self._edge(_joined(leaving, self._openings[scene], self.slots), target, ONWARD)
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


def _joined(leaving: Effect | None, opening: Effect, slots: list[Slot]) -> Effect:
    """Leaving one scene and entering the next as one effect."""
    if leaving is None or not leaving.set:
        return opening
    joined = Effect()
    joined.set = {**leaving.set, **opening.set}
    for one, changes in opening.moved.items():
        if one in leaving.set:
            slot = slots[one]
            joined.set[one] = slot.values[slot.after(slot.number(leaving.set[one]), changes)]
        else:
            joined.moved[one] = changes
    return joined


def _written(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(document.get("actions", ()))


def _backward(reads: list[int], leads: list[list[tuple[int, int]]]) -> list[int]:
    users: list[list[int]] = [[] for _ in reads]
    for number, targets in enumerate(leads):
        for target, _ in targets:
            users[target].append(number)
    live = list(reads)
    pending = list(range(len(reads)))
    waiting = bytearray(b"\x01" * len(reads))
    while pending:
        number = pending.pop()
        waiting[number] = 0
        wanted = reads[number]
        for target, fixed in leads[number]:
            wanted |= live[target] & ~fixed
        if wanted != live[number]:
            live[number] = wanted
            for user in users[number]:
                if not waiting[user]:
                    waiting[user] = 1
                    pending.append(user)
    return live

