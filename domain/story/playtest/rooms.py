"""The shape of a story for one point of view: what leads to what when conditions are left aside.

A room is a scene at its place among the entries. A gate stands before every entry and after the last: whoever leaves a
room passes gates until an alternative lets them in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from domain.story.play import Alternative, Story
from domain.story.playtest.survey import Survey
from domain.story.program import Choice, Node, Program

Spot = tuple[int, str, str]
"""Entry, scene and node: where a play can stand, whatever its variables."""


class Shape(NamedTuple):
    """Spots that a chain of choices leads to, in the order in which they were found, and the gates on the way."""

    spots: dict[Spot, int]
    gates: frozenset[int]


def final(story: Story, entry: int, scene: str) -> bool:
    """Whether the story is over when that scene is over there."""
    return any(one.scene == scene and one.final for one in story.entries[entry].alternatives)


def may_leave(choices: tuple[Choice, ...]) -> bool:
    """Whether it can be that none of these choices is offered."""
    return all(choice.tests for choice in choices)


def doors(story: Story, gate: int, pov: str) -> Iterator[tuple[int, Alternative]]:
    """The alternatives behind one gate that a point of view may enter, up to one that always lets in."""
    for number, one in enumerate(story.entries[gate].alternatives):
        if not one.visible_to or pov in one.visible_to:
            yield number, one
            if not one.tests:
                return


def always_lets_in(story: Story, gate: int, pov: str) -> bool:
    """Whether nobody passes over the entry behind a gate."""
    return any(not one.tests for _, one in doors(story, gate, pov))


def shape(story: Story, pov: str) -> Shape:
    """Follows every choice that a point of view may ever be offered, from the first gate on."""
    spots: dict[Spot, int] = {}
    gates: set[int] = set()
    pending: list[Spot] = []

    def reach(spot: Spot) -> None:
        if spot not in spots:
            spots[spot] = len(spots)
            pending.append(spot)

    def pass_gates(gate: int) -> None:
        while gate not in gates:
            gates.add(gate)
            if gate == len(story.entries):
                return
            for _, one in doors(story, gate, pov):
                reach((gate, one.scene, story.scenes[one.scene].start))
            if always_lets_in(story, gate, pov):
                return
            gate += 1

    pass_gates(0)
    while pending:
        entry, scene, node_id = pending.pop()
        choices = story.scenes[scene].nodes[node_id].seen_by(pov)
        for choice in choices:
            reach((entry, scene, choice.target))
        if may_leave(choices) and not final(story, entry, scene):
            pass_gates(entry + 1)
    return Shape(spots, frozenset(gates))


def spot_node(story: Story, spot: Spot) -> Node:
    """The node at a spot."""
    return story.scenes[spot[1]].nodes[spot[2]]


def program_of(story: Story, spot: Spot) -> Program:
    """The scene of a spot."""
    return story.scenes[spot[1]]


def place_of(survey: Survey, spot: Spot) -> int:
    """The number of the place that a spot stands at."""
    return survey.place_of[spot[1], spot[2]]
