"""Asking for single choices of a node, so that people who edit different choices never undo each other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from commands.declaration import Command
from commands.envelope import Asked
from commands.story.scene_nodes import rewritten
from commands.story.scene_refusals import choice_index, found_node, opened, unknown_choice
from domain.bounded_json import BoundedObject, Number, same_json
from domain.errors import Invalid, Refused, Remedy
from domain.ids import Token
from domain.story.scene_events import SceneEvent
from domain.story.scene_model import (
    CHOICES_LIMIT,
    Actions,
    Choice,
    ChoiceId,
    Conditions,
    NodeId,
    Views,
    Words,
    plain,
)
from domain.story.scene_rules import address
from domain.story.scene_states import Deleted, Unwritten, Written

ChoiceIndex = Annotated[int, Field(ge=0, le=CHOICES_LIMIT, strict=True)]


class AddChoice(Command):
    """Add a choice to a node, at the end or ``at`` an index."""

    scene_id: Token
    node_id: NodeId
    choice: Choice
    at: ChoiceIndex | None = None


class EditChoice(Command):
    """Change a choice, addressed by its id or else its target: only what is named changes, ``null`` takes away."""

    scene_id: Token
    node_id: NodeId
    choice_id: ChoiceId
    id: ChoiceId | None = None
    target: NodeId | None = None
    label: Words | None = None
    description: Words | None = None
    weight: Annotated[Number, Field(ge=0, json_schema_extra={"minimum": 0})] | None = None
    conditions: Conditions | None = None
    actions: Actions | None = None
    visible_to: Views | None = None
    metadata: BoundedObject | None = None


class MoveChoice(Command):
    """Put a choice ``at`` another index among those of its node."""

    scene_id: Token
    node_id: NodeId
    choice_id: ChoiceId
    at: ChoiceIndex


class RemoveChoice(Command):
    """Take a choice out of a node."""

    scene_id: Token
    node_id: NodeId
    choice_id: ChoiceId


def add(command: AddChoice, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when the same choice is there already."""
    scene = opened(command.scene_id, state)
    node = found_node(scene, command.node_id)
    choices: list[Any] = list(node.node.get("choices", ()))  # type: ignore[arg-type]
    choice = plain(command.choice)
    name = address(choice)
    index = choice_index(choices, name, command.node_id)
    if index is not None:
        if same_json(choices[index], choice):
            return []
        raise Refused(
            f"Node {command.node_id!r} has a choice {name!r} already.",
            error="choice_exists",
            remediation=[Remedy("Give the new choice an id of its own, or edit the other.", "edit_choice")],
            detail={"node": command.node_id, "choice": name},
        )
    if len(choices) >= CHOICES_LIMIT:
        raise Refused(
            f"A node has at most {CHOICES_LIMIT} choices.",
            error="too_many_choices",
            remediation=[Remedy("Lead to a node that holds the rest.", "add_node")],
        )
    choices.insert(len(choices) if command.at is None else command.at, choice)
    return rewritten(scene, node, {**node.node, "choices": choices}, (f"choices/{name}",))


def edit(command: EditChoice, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when everything named is so already."""
    scene = opened(command.scene_id, state)
    node = found_node(scene, command.node_id)
    choices: list[Any] = list(node.node.get("choices", ()))  # type: ignore[arg-type]
    named = {
        name: value for name, value in plain(command).items() if name not in ("scene_id", "node_id", "choice_id")
    }
    index = choice_index(choices, command.choice_id, command.node_id)
    if index is None:
        index = _done_already(choices, command, named)
    after = {name: value for name, value in {**choices[index], **named}.items() if value is not None}
    if "target" not in after:
        raise Invalid(
            "A choice always leads somewhere.",
            error="missing_target",
            remediation=[Remedy("Name another target, or remove the choice.", "remove_choice")],
        )
    if same_json(choices[index], after):
        return []
    others = [choice for number, choice in enumerate(choices) if number != index]
    if address(after) != command.choice_id and any(address(one) == address(after) for one in others):
        raise Refused(
            f"Node {command.node_id!r} has a choice {address(after)!r} already.",
            error="choice_exists",
            remediation=[Remedy("Give the choice an id of its own first.", "rename_choice")],
            detail={"node": command.node_id, "choice": address(after)},
        )
    choices[index] = after
    return rewritten(scene, node, {**node.node, "choices": choices}, (f"choices/{command.choice_id}",))


def _done_already(choices: list[Any], command: EditChoice, named: dict[str, Any]) -> int:
    """Where a choice stands whose new address this very edit has given it, so that a retry is harmless."""
    new = named.get("id") or named.get("target")
    for index, choice in enumerate(choices):
        if address(choice) == new and all(same_json(choice.get(name), value) for name, value in named.items()):
            return index
    raise unknown_choice(command.node_id, command.choice_id)


def move(command: MoveChoice, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """An index past the end is the end."""
    scene = opened(command.scene_id, state)
    node = found_node(scene, command.node_id)
    choices: list[Any] = list(node.node.get("choices", ()))  # type: ignore[arg-type]
    index = choice_index(choices, command.choice_id, command.node_id)
    if index is None:
        raise unknown_choice(command.node_id, command.choice_id)
    choices.insert(command.at, choices.pop(index))
    return rewritten(scene, node, {**node.node, "choices": choices}, (f"choices/{command.choice_id}",))


def remove(command: RemoveChoice, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """A choice that is gone stays so."""
    scene = opened(command.scene_id, state)
    node = found_node(scene, command.node_id)
    choices: list[Any] = list(node.node.get("choices", ()))  # type: ignore[arg-type]
    index = choice_index(choices, command.choice_id, command.node_id)
    if index is None:
        return []
    del choices[index]
    return rewritten(scene, node, {**node.node, "choices": choices}, (f"choices/{command.choice_id}",))
