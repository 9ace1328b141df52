"""A scene made ready to be played: what is offered at a node, and what taking a choice makes of the variables.

Everything here is a function of what it is given; whoever plays holds the node, the variables and the dice. The order
of work when a choice is taken is fixed: the choice's actions, the move, the actions of the node that is entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple

from domain.story.dice import Dice, picked
from domain.story.scene_model import NARRATOR
from domain.story.scene_rules import address
from domain.story.variable_tree import Change, Test, Variables, change, changed, test

Manner = Literal["ask", "chance", "continue", "end"]
"""How a node is left when nobody says otherwise: a menu asks, the dice decide, it goes on by itself, or not at all."""

ASKING: Final = frozenset({"choice", "menu"})
"""Types of nodes that always ask."""

CHANCE: Final = frozenset({"chance", "random"})
"""Types of nodes at which the dice always decide."""

VIEWS_REMEMBERED: Final = 64
"""Points of view for which a node remembers what they may be offered."""


def manner(node: Mapping[str, Any]) -> Manner:
    """How a node of the scene schema is left.

    Its type decides where it says so (``choice`` and ``menu`` ask, ``chance`` and ``random`` draw). Else a node with
    one choice goes on by itself; one whose choices have weights other than 1, or no labels, draws; any other asks.
    """
    choices: Sequence[Mapping[str, Any]] = node.get("choices", ())
    type_ = node.get("type", "dialogue")
    if not choices:
        return "end"
    if type_ in ASKING:
        return "ask"
    if type_ in CHANCE:
        return "chance"
    if len(choices) == 1:
        return "continue"
    weighted = any(choice.get("weight", 1) not in (0, 1) for choice in choices)
    labelled = any(choice.get("label") for choice in choices)
    return "ask" if labelled and not weighted else "chance"


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A way out of a node. ``index`` counts the choices of its node as they stand in the document; ``arriving`` are
    its changes and those of the node that it leads to, in that order."""

    index: int
    id: str
    target: str
    label: str
    weight: float
    tests: tuple[Test, ...]
    changes: tuple[Change, ...]
    visible_to: frozenset[str]
    document: Mapping[str, Any]
    arriving: tuple[Change, ...] = ()


class Seen(NamedTuple):
    """What a point of view may ever be offered at a node. ``conditional``: some of it only where conditions hold.
    ``sums`` are the running sums of the weights."""

    choices: tuple[Choice, ...]
    conditional: bool
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A moment of a scene. ``document`` is the node as it was written."""

    id: str
    manner: Manner
    choices: tuple[Choice, ...]
    changes: tuple[Change, ...]
    document: Mapping[str, Any]
    _seen: dict[str, Seen] = field(default_factory=dict)

    def seen(self, pov: str) -> Seen:
        """What a point of view may ever be offered: neither choices of weight 0 nor those of others."""
        known = self._seen.get(pov)
        if known is None:
            choices = tuple(
                choice for choice in self.choices
                if choice.weight > 0 and (not choice.visible_to or pov in choice.visible_to)
            )
            sums = tuple(accumulate(choice.weight for choice in choices))
            known = Seen(choices, any(choice.tests for choice in choices), sums)
            if len(self._seen) >= VIEWS_REMEMBERED:
                self._seen.clear()
            self._seen[pov] = known
        return known

    def seen_by(self, pov: str) -> tuple[Choice, ...]:
        """The choices that a point of view may ever be offered."""
        return self.seen(pov).choices


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A scene document, ready to be played."""

    id: str
    start: str
    nodes: Mapping[str, Node]
    variables: Mapping[str, Any]
    default_pov: str
    document: Mapping[str, Any]


def program(document: Mapping[str, Any]) -> Program:
    """Makes a valid scene document (``scene_rules.judge``) ready to be played."""
    metadata = document.get("metadata") or {}
    told = metadata.get("default_pov") if isinstance(metadata, Mapping) else None
    pov = document.get("default_pov") or (told.strip() if isinstance(told, str) else "") or NARRATOR
    entering = {node["id"]: _changes(node) for node in document["nodes"]}
    nodes = {node["id"]: _node(node, entering) for node in document["nodes"]}
    return Program(document["id"], document["start"], nodes, document.get("variables") or {}, pov, document)


def _node(node: Mapping[str, Any], entering: Mapping[str, tuple[Change, ...]]) -> Node:
    choices = tuple(_choice(index, choice, entering) for index, choice in enumerate(node.get("choices", ())))
    return Node(node["id"], manner(node), choices, entering[node["id"]], node)


def _choice(index: int, choice: Mapping[str, Any], entering: Mapping[str, tuple[Change, ...]]) -> Choice:
    changes = _changes(choice)
    return Choice(
        index, address(choice), choice["target"], choice.get("label", ""), float(choice.get("weight", 1)),
        tuple(test(one) for one in choice.get("conditions", ())), changes,
        frozenset(choice.get("visible_to", ())), choice, (*changes, *entering[choice["target"]]),
    )


def _changes(part: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(change(action) for action in part.get("actions", ()))


def offered(node: Node, variables: Mapping[str, Any], pov: str) -> tuple[Choice, ...]:
    """The choices that can be taken now, in the order of the document."""
    seen = node.seen(pov)
    if not seen.conditional:
        return seen.choices
    return tuple(one for one in seen.choices if not one.tests or holds(one.tests, variables))


def holds(tests: Iterable[Test], variables: Mapping[str, Any]) -> bool:
    """Whether all conditions hold; none always do."""
    return all(one(variables) for one in tests)


def entered(node: Node, variables: Variables) -> Variables:
    """The variables once a node has been entered."""
    return changed(variables, node.changes)


def taken(program: Program, choice: Choice, variables: Variables) -> tuple[Node, Variables]:
    """Where a choice leads, and the variables after its actions and those of the node that it leads to."""
    return program.nodes[choice.target], changed(variables, choice.arriving)


def cast(dice: Dice, choices: Sequence[Choice]) -> tuple[Choice, Dice]:
    """One of the offered choices (at least one) by their weights, and the dice after that one draw."""
    index, after = picked(dice, (choice.weight for choice in choices))
    return choices[index], after


def named(choices: Iterable[Choice], id_: str) -> Choice | None:
    """The choice that is addressed so: by its id, or without one by its target."""
    return next((choice for choice in choices if choice.id == id_), None)
