"""What there is to be met in a story: every node, choice and condition by number, so that counting needs no names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from domain.story.play import Story
from domain.story.program import Node
from domain.story.variable_tree import Test

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


class Place(NamedTuple):
    """A node of a scene, wherever in the story the scene is played; ``words`` are those of its text."""

    scene: str
    node: str
    words: int


class Way(NamedTuple):
    """A choice: the number of its place, and which of the choices of its node it is."""

    place: int
    order: int


class Rule(NamedTuple):
    """A condition: where it stands, as it was written, and as a function."""

    where: tuple[str, ...]
    document: Mapping[str, Any]
    test: Test


class Survey(NamedTuple):
    """Everything of a story by number; ``rules_of_way`` and ``rules_of_door`` name conditions by theirs."""

    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    rules: tuple[Rule, ...]
    place_of: Mapping[tuple[str, str], int]
    first_way: tuple[int, ...]
    rules_of_way: tuple[tuple[int, ...], ...]
    rules_of_door: Mapping[tuple[int, int], tuple[int, ...]]


def words(text: str) -> int:
    """Words of a text; in scripts without spaces (Han, Kana) every letter counts as one."""
    return sum(1 for _ in _WORD.finditer(text))


def scenes_of(story: Story) -> list[str]:
    """The scenes that the entries name, in the order in which they are first named."""
    return list(dict.fromkeys(one.scene for entry in story.entries for one in entry.alternatives))


def survey(story: Story) -> Survey:
    """Numbers everything that the entries of a story lead to."""
    places: list[Place] = []
    ways: list[Way] = []
    rules: list[Rule] = []
    rules_of_way: list[tuple[int, ...]] = []
    first_way: list[int] = []
    for scene_id in scenes_of(story):
        for node in story.scenes[scene_id].nodes.values():
            first_way.append(len(ways))
            for choice in node.choices:
                ways.append(Way(len(places), choice.index))
                where = ("scenes", scene_id, "nodes", node.id, "choices", choice.id)
                conditions = choice.document.get("conditions", ())
                rules_of_way.append(tuple(range(len(rules), len(rules) + len(conditions))))
                rules += [
                    Rule((*where, "conditions", str(number)), one, test)
                    for number, (one, test) in enumerate(zip(conditions, choice.tests, strict=True))
                ]
            places.append(Place(scene_id, node.id, words(node.document.get("text", ""))))
    doors: dict[tuple[int, int], tuple[int, ...]] = {}
    for door, found in _door_rules(story):
        doors[door] = tuple(range(len(rules), len(rules) + len(found)))
        rules += found
    return Survey(
        tuple(places), tuple(ways), tuple(rules),
        {(place.scene, place.node): number for number, place in enumerate(places)},
        tuple(first_way), tuple(rules_of_way), doors,
    )


def _door_rules(story: Story) -> Iterator[tuple[tuple[int, int], list[Rule]]]:
    for index, (written, entry) in enumerate(zip(story.content["entries"], story.entries, strict=True)):
        grouped = "alternatives" in written
        alternatives = written["alternatives"] if grouped else (written,)
        own = written.get("conditions", ()) if grouped else ()
        for number, (one, alternative) in enumerate(zip(alternatives, entry.alternatives, strict=True)):
            where: tuple[str, ...] = ("entries", entry.id)
            where += ("alternatives", str(number)) if grouped else ()
            told = [*own, *one.get("conditions", ())]
            yield (index, number), [
                Rule((*where, "conditions", str(position)), condition, test)
                for position, (condition, test) in enumerate(zip(told, alternative.tests, strict=True))
            ]


def node_of(story: Story, place: Place) -> Node:
    """The node of a place."""
    return story.scenes[place.scene].nodes[place.node]


def povs_of(story: Story) -> list[str]:
    """The points of view that a story knows of: its own first, then every other that anything is for."""
    found = dict.fromkeys([story.default_pov])
    for entry in story.entries:
        for one in entry.alternatives:
            found |= dict.fromkeys(pov for pov in sorted(one.visible_to) if not pov.startswith("\x00"))
    for scene_id in scenes_of(story):
        program = story.scenes[scene_id]
        for node in program.nodes.values():
            for choice in node.choices:
                found |= dict.fromkeys(sorted(choice.visible_to))
    for declared in (story.content.get("declarations") or {}).values():
        found |= dict.fromkeys(declared.get("known_to") or ())
    return list(found)
