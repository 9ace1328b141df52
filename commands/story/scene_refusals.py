"""What editing a scene can be refused for, in one place: which scene, which node, which choice, which rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.story.scene_events import PlacedNode
from domain.story.scene_rules import SHOWN, Problem, address
from domain.story.scene_states import Deleted, Unwritten, Written

REMEDIES = {
    "duplicate_node": Remedy("Give every node of the scene an id of its own.", "rename_node"),
    "missing_start": Remedy("Name an existing node as `start`, or add the node first.", "choose_start"),
    "missing_target": Remedy(
        "Add the node that the choice leads to first, or send the whole document at once.", "add_target"
    ),
    "duplicate_choice": Remedy("Give every choice of a node an id of its own.", "rename_choice"),
    "duplicate_directive": Remedy("Give every directive of a node an id of its own, or none.", "rename_directive"),
    "too_large": Remedy("Split it into smaller parts.", "split"),
}


def opened(scene_id: str, state: Unwritten | Written | Deleted) -> Written:
    """The scene, if it can be edited; raises ``NotFound`` or ``Refused``."""
    if isinstance(state, Unwritten):
        raise NotFound(
            f"There is no scene {scene_id} on this worldline.",
            error="unknown_scene",
            remediation=[Remedy("Create it, or list the scenes of the worldline.", "list_scenes")],
            detail={"scene": scene_id},
        )
    if isinstance(state, Deleted):
        raise scene_deleted(scene_id)
    return state


def scene_deleted(scene_id: str) -> Refused:
    """The scene exists and is out of sight."""
    return Refused(
        f"Scene {scene_id} was deleted.",
        error="scene_deleted",
        remediation=[Remedy("Restore it first: nothing of it is lost.", "restore_scene")],
        detail={"scene": scene_id},
    )


def found_node(scene: Written, node_id: str) -> PlacedNode:
    """A node of the scene; raises ``NotFound``."""
    if (node := scene.nodes.get(node_id)) is None:
        raise NotFound(
            f"Scene {scene.scene_id} has no node {node_id!r}.",
            error="unknown_node",
            remediation=[Remedy("Look at the scene for the ids of its nodes.", "show_scene")],
            detail={"scene": scene.scene_id, "node": node_id},
        )
    return node


def choice_index(choices: Sequence[dict[str, Any]], choice_id: str, node_id: str) -> int | None:
    """Where the choice of that address stands, or nothing; raises ``Invalid`` when several have it."""
    found = [index for index, choice in enumerate(choices) if address(choice) == choice_id]
    if len(found) > 1:
        raise Invalid(
            f"{len(found)} choices of node {node_id!r} are addressed as {choice_id!r}.",
            error="ambiguous_choice",
            remediation=[Remedy("Edit the node's `choices` as a whole and give each an id.", "edit_node")],
            detail={"node": node_id, "choice": choice_id, "at": found},
        )
    return found[0] if found else None


def unknown_choice(node_id: str, choice_id: str) -> NotFound:
    """No choice of the node has that id, nor leads there without one."""
    return NotFound(
        f"Node {node_id!r} has no choice {choice_id!r}.",
        error="unknown_choice",
        remediation=[Remedy("A choice is addressed by its id, or by its target when it has none.", "show_scene")],
        detail={"node": node_id, "choice": choice_id},
    )


def must_hold(problems: Sequence[Problem]) -> None:
    """Raises ``Invalid`` with every problem, or does nothing when there is none."""
    if not problems:
        return
    first, more = problems[0], len(problems) - 1
    sentence = f"{first.path}: {first.message}" if first.path else first.message
    codes = dict.fromkeys(one.code for one in problems)
    raise Invalid(
        sentence + (f" ({more} more)" if more else ""),
        error="invalid_scene",
        remediation=[REMEDIES[code] for code in codes],
        detail={"errors": [one.shown() for one in problems[:SHOWN]]},
    )
