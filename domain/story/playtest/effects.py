"""What the steps of a story make of its slots: by a choice, on entering a scene, on leaving one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from domain.story.play import Story
from domain.story.playtest.rooms import Shape, Spot, doors, place_of, spot_node
from domain.story.playtest.slots import Effect, Path, Slot, is_fixed, overlaps, path_of
from domain.story.playtest.survey import Survey
from domain.story.program import Choice, Node
from domain.story.variable_tree import MISSING, Change, Variables, found


class Effects:
    """The slots of a story for a point of view, in the order in which conditions first name them, and what becomes of
    them. ``slot_of`` leads from the number of a condition to that of its slot."""

    def __init__(self, story: Story, survey: Survey, pov: str, shape: Shape, first: Variables) -> None:
        self.story, self.survey, self.pov, self.shape = story, survey, pov, shape
        self.slot_of: dict[int, int] = {}
        self._by_root: dict[str, list[int]] = defaultdict(list)
        self.slots = self._slots()
        self._settle(first)
        self._of_choices: dict[tuple[str, str, int], Effect] = {}
        for spot, choice in self._steps():
            self.of_choice(spot, choice)
        scenes = list(dict.fromkeys(spot[1] for spot in shape.spots))
        self.openings = {scene: self._opening(scene) for scene in scenes}
        self.leavings = {scene: self._leaving(scene) for scene in scenes}

    def seen(self, spot: Spot) -> tuple[Choice, ...]:
        """The choices of a spot that the point of view may ever be offered."""
        return spot_node(self.story, spot).seen_by(self.pov)

    def rules_at(self, spot: Spot, choice: Choice) -> tuple[int, ...]:
        """The conditions of a choice."""
        return self.survey.rules_of_way[self.survey.first_way[place_of(self.survey, spot)] + choice.index]

    def of_choice(self, spot: Spot, choice: Choice) -> Effect:
        """What the slots become by a choice: its actions, then those of the node that it leads to."""
        key = (spot[1], spot[2], choice.index)
        known = self._of_choices.get(key)
        if known is None:
            known = self._of_choices[key] = Effect()
            self._apply(known, choice.document, choice.changes)
            node = self.story.scenes[spot[1]].nodes[choice.target]
            self._apply(known, node.document, node.changes)
            self._number(known)
        return known

    def entering(self, left: str, scene: str) -> Effect:
        """Leaving one scene (empty: none) and entering the next as one effect."""
        leaving, opening = self.leavings[left] if left else None, self.openings[scene]
        if leaving is None or not leaving.set:
            return opening
        joined = Effect()
        joined.set = {**leaving.set, **opening.set}
        for one, changes in opening.moved.items():
            if one in leaving.set:
                slot = self.slots[one]
                joined.set[one] = slot.values[slot.after(slot.number(leaving.set[one]), changes)]
            else:
                joined.moved[one] = changes
        return joined

    # --- as bits of a state, once every slot has its place ------------------------------------------------------------

    def mask(self, numbers: Iterable[int]) -> int:
        """The bits of some slots."""
        mask = 0
        for one in numbers:
            mask |= self.slots[one].mask << self.slots[one].shift
        return mask

    def fixed_mask(self, effect: Effect) -> int:
        """The bits that hold nothing of before."""
        return self.mask(effect.set)

    def read_at(self, spot: Spot) -> int:
        """The bits that the conditions of the choices of a spot look at."""
        return self.mask(self.slot_of[rule] for choice in self.seen(spot) for rule in self.rules_at(spot, choice))

    def read_by(self, gate: int, door: int) -> int:
        """The bits that the conditions of one alternative look at."""
        return self.mask(self.slot_of[rule] for rule in self.survey.rules_of_door[gate, door])

    # --- what there is ------------------------------------------------------------------------------------------------

    def _slots(self) -> list[Slot]:
        survey = self.survey
        found_: dict[Path, Slot] = {}
        rules: set[int] = set()
        for spot in self.shape.spots:
            for choice in self.seen(spot):
                rules.update(self.rules_at(spot, choice))
        for gate in self.shape.gates - {len(self.story.entries)}:
            for number, _ in doors(self.story, gate, self.pov):
                rules.update(survey.rules_of_door[gate, number])
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
        return ((spot, choice) for spot in self.shape.spots for choice in self.seen(spot))

    def _settle(self, first: Variables) -> None:
        """Finds which slots only ever hold listed values, and numbers those that they begin with."""
        actions = [action for spot, choice in self._steps() for action in _written(choice.document)]
        entered = {(spot[1], spot[2]): spot_node(self.story, spot) for spot in self.shape.spots}
        actions += [action for node in entered.values() for action in _written(node.document)]
        for action in actions:
            for one in self._touched(path_of(action)):
                if not is_fixed(action, self.slots[one].path):
                    self.slots[one].dynamic.append(action)
        for slot in self.slots:
            slot.settle()
            slot.number(found(first, slot.path))
            slot.number(MISSING)

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


def _written(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(document.get("actions", ()))
