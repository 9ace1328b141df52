"""Asking for nodes of a scene: added, edited, renamed, moved, removed. Each touches only what it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, StrictBool

from commands.declaration import Command
from commands.envelope import Asked
from commands.story.scene_documents import edited
from commands.story.scene_refusals import found_node, must_hold, opened
from domain.bounded_json import BoundedObject, same_json
from domain.errors import Invalid, Refused, Remedy
from domain.ids import Token
from domain.story.places import LONGEST, Place, arranged, between
from domain.story.scene_events import (
    NodeAdded,
    NodeEdited,
    NodeMoved,
    NodeRemoved,
    NodesWritten,
    PlacedNode,
    SceneEvent,
)
from domain.story.scene_model import (
    NODES_LIMIT,
    Actions,
    Choices,
    Directives,
    Node,
    NodeId,
    Text,
    plain,
)
from domain.story.scene_rules import node_problems
from domain.story.scene_states import Deleted, Unwritten, Written
from domain.story.scene_writing import batches, same_node, summed

Index = Annotated[int, Field(ge=0, le=NODES_LIMIT, strict=True)]


class AddNode(Command):
    """Add a node: at the end, before or after another, or ``at`` an index."""

    scene_id: Token
    node: Node
    before: NodeId | None = None
    after: NodeId | None = None
    at: Index | None = None


class EditNode(Command):
    """Change a node: only what is named changes, ``null`` takes a field away."""

    scene_id: Token
    node_id: NodeId
    type: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    text: Text | None = None
    speaker: Annotated[str, Field(max_length=200)] | None = None
    data: BoundedObject | None = None
    actions: Actions | None = None
    choices: Choices | None = None
    narrator_rules: BoundedObject | None = None
    directives: Directives | None = None
    end: StrictBool | None = None


class RenameNode(Command):
    """Give a node another id; the start and every choice that leads to it follow."""

    scene_id: Token
    node_id: NodeId
    to: NodeId


class MoveNode(Command):
    """Put a node elsewhere among the others: before or after one, or ``at`` an index; else at the end."""

    scene_id: Token
    node_id: NodeId
    before: NodeId | None = None
    after: NodeId | None = None
    at: Index | None = None


class ReorderNodes(Command):
    """Put all nodes in this order; every id of the scene stands in it once."""

    scene_id: Token
    order: Annotated[tuple[NodeId, ...], Field(min_length=1, max_length=NODES_LIMIT)]


class RemoveNode(Command):
    """Take a node out; ``detach`` also takes out the choices that lead to it."""

    scene_id: Token
    node_id: NodeId
    detach: bool = False


def add(command: AddNode, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when the same node is there already."""
    scene = opened(command.scene_id, state)
    node = plain(command.node)
    known = scene.nodes.get(command.node.id)
    if known is not None:
        if same_json(known.node, node):
            return []
        raise _taken(scene, command.node.id)
    if len(scene.nodes) >= NODES_LIMIT:
        raise Refused(
            f"A scene has at most {NODES_LIMIT} nodes.",
            error="too_many_nodes",
            remediation=[Remedy("Go on in another scene.", "create_scene")],
        )
    must_hold(node_problems(node, {*scene.nodes, command.node.id}, f"nodes/{command.node.id}"))
    placed = _placed(scene, node, command)
    if len(placed) > 1:
        return _together(scene, placed, nodes=len(scene.nodes) + 1)
    summary = summed(scene.scene_id, scene.header, len(scene.nodes) + 1)
    return [NodeAdded(scene_id=scene.scene_id, node=placed[0], summary=summary)]


def edit(command: EditNode, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when everything named is so already."""
    scene = opened(command.scene_id, state)
    before = found_node(scene, command.node_id)
    named = {name: value for name, value in plain(command).items() if name not in ("scene_id", "node_id")}
    return rewritten(scene, before, {**before.node, **named}, tuple(sorted(named)))


def rewritten(
    scene: Written, before: PlacedNode, node: Mapping[str, Any], named: Sequence[str]
) -> list[SceneEvent]:
    """The event for a node that says something else now: ``named`` may have changed; ``None`` removes a field."""
    after = {name: value for name, value in node.items() if value is not None}
    if same_json(before.node, after):
        return []
    must_hold(node_problems(after, scene.nodes, f"nodes/{before.id}"))
    changed = tuple(
        name for name in named if "/" in name or not same_json(before.node.get(name), after.get(name))
    )
    placed = PlacedNode(place=before.place, node=after)
    return [NodeEdited(scene_id=scene.scene_id, node=placed, changed=changed)]


def rename(command: RenameNode, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """One event for the node and everything that leads to it; nothing when it has been done."""
    scene = opened(command.scene_id, state)
    if command.node_id == command.to or (command.node_id not in scene.nodes and command.to in scene.nodes):
        return []
    node = found_node(scene, command.node_id)
    if command.to in scene.nodes:
        raise _taken(scene, command.to)
    renamed = PlacedNode(place=node.place, node={**node.node, "id": command.to})
    others = [one for one in scene.nodes.values() if one.id != node.id]
    written = [
        PlacedNode(place=one.place, node=_redirected(one.node, node.id, command.to)) for one in (renamed, *others)
    ]
    changed = [one for one in written if not same_node(one, scene.nodes.get(one.id))]
    events = _together(scene, changed, (node.id,), nodes=len(scene.nodes))
    if scene.header.start == node.id:
        events += edited(scene, scene.header.model_copy(update={"start": command.to}))
    return events


def _redirected(node: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    if "choices" not in node:
        return dict(node)
    choices = [{**choice, "target": new} if choice["target"] == old else choice for choice in node["choices"]]
    return {**node, "choices": choices}


def move(command: MoveNode, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when it stands there already."""
    scene = opened(command.scene_id, state)
    node = found_node(scene, command.node_id)
    order = [one.id for one in ordered(scene)]
    others = [id_ for id_ in order if id_ != node.id]
    index = _index(scene, others, command)
    if order == [*others[:index], node.id, *others[index:]]:
        return []
    placed = _placed(scene, node.node, command)
    if len(placed) > 1:
        return _together(scene, placed, nodes=len(scene.nodes))
    return [NodeMoved(scene_id=scene.scene_id, node=placed[0])]


def reorder(command: ReorderNodes, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """As few nodes as possible get another place."""
    scene = opened(command.scene_id, state)
    if sorted(command.order) != sorted(scene.nodes):
        missing = sorted(set(scene.nodes) - set(command.order))
        strange = sorted(set(command.order) - set(scene.nodes))
        raise Invalid(
            "The order must hold every node of the scene once.",
            error="incomplete_order",
            remediation=[Remedy("Load the scene and send all of its node ids in the order you want.", "reload")],
            detail={"missing": missing[:100], "unknown": strange[:100]},
        )
    if [one.id for one in ordered(scene)] == list(command.order):
        return []
    places = arranged([scene.nodes[id_].place for id_ in command.order])
    moved = [
        PlacedNode(place=place, node=scene.nodes[id_].node)
        for id_, place in zip(command.order, places, strict=True) if place != scene.nodes[id_].place
    ]
    if len(moved) == 1:
        return [NodeMoved(scene_id=scene.scene_id, node=moved[0])]
    return _together(scene, moved, nodes=len(scene.nodes))


def remove(command: RemoveNode, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Refused for the start and, without ``detach``, while choices lead to it; a node that is gone stays so."""
    scene = opened(command.scene_id, state)
    if command.node_id not in scene.nodes:
        return []
    if scene.header.start == command.node_id:
        raise Refused(
            f"Scene {scene.scene_id} starts at node {command.node_id!r}.",
            error="start_node",
            remediation=[Remedy("Let the scene start at another node first.", "choose_start")],
        )
    leading = [
        one for one in scene.nodes.values()
        if one.id != command.node_id and any(choice["target"] == command.node_id for choice in _choices(one.node))
    ]
    if leading and not command.detach:
        raise Refused(
            f"Choices of {len(leading)} node{'s' if len(leading) > 1 else ''} lead to node {command.node_id!r}.",
            error="node_in_use",
            remediation=[
                Remedy("Let those choices lead elsewhere first.", "edit_choices"),
                Remedy("Say `detach` to remove those choices as well.", "detach"),
            ],
            detail={"node": command.node_id, "from": sorted(one.id for one in leading)[:100]},
        )
    if leading:
        detached = [PlacedNode(place=one.place, node=_without(one.node, command.node_id)) for one in leading]
        return _together(scene, detached, (command.node_id,), nodes=len(scene.nodes) - 1)
    summary = summed(scene.scene_id, scene.header, len(scene.nodes) - 1)
    return [NodeRemoved(scene_id=scene.scene_id, node_id=command.node_id, summary=summary)]


def ordered(scene: Written) -> list[PlacedNode]:
    """The nodes of a scene in their order."""
    return sorted(scene.nodes.values(), key=lambda one: (one.place, one.id))


def _choices(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = node.get("choices", ())
    return found


def _without(node: Mapping[str, Any], target: str) -> dict[str, Any]:
    return {**node, "choices": [choice for choice in _choices(node) if choice["target"] != target]}


def _placed(scene: Written, node: dict[str, Any], command: AddNode | MoveNode) -> list[PlacedNode]:
    """The node at its new place; with others when there was no room between its neighbours."""
    if command.before is None and command.after is None and command.at is None:
        last = max((one.place for one in scene.nodes.values() if one.id != node["id"]), default=None)
        return [PlacedNode(place=between(last, None), node=node)]
    others = [one for one in ordered(scene) if one.id != node["id"]]
    index = _index(scene, [one.id for one in others], command)
    low = others[index - 1].place if index else None
    high = others[index].place if index < len(others) else None
    if low is None or high is None or low < high:
        place = between(low, high)
        if len(place) <= LONGEST:
            return [PlacedNode(place=place, node=node)]
    # Two branches may have put nodes at one place, or the room is used up: others have to move as well.
    wanted: list[Place | None] = [one.place for one in others]
    wanted.insert(index, None)
    nodes = [one.node for one in others]
    nodes.insert(index, node)
    laid = [PlacedNode(place=place, node=one) for place, one in zip(arranged(wanted), nodes, strict=True)]
    return [one for one in laid if one.id == node["id"] or one.place != scene.nodes[one.id].place]


def _index(scene: Written, others: Sequence[str], command: AddNode | MoveNode) -> int:
    named = [name for name in ("before", "after", "at") if getattr(command, name) is not None]
    if len(named) > 1:
        raise Invalid(
            f"Give one of before, after and at, not {' and '.join(named)}.",
            error="contradicting_places",
            remediation=[Remedy("Name one place.", "choose_place")],
        )
    if command.at is not None:
        return min(command.at, len(others))
    neighbour = command.before if command.before is not None else command.after
    if neighbour is None:
        return len(others)
    found_node(scene, neighbour)
    if neighbour not in others:
        raise Invalid(
            f"Node {neighbour!r} cannot be its own neighbour.",
            error="own_neighbour",
            remediation=[Remedy("Name another node.", "choose_place")],
        )
    return others.index(neighbour) + (command.before is None)


def _together(
    scene: Written, written: Sequence[PlacedNode], removed: tuple[str, ...] = (), *, nodes: int
) -> list[SceneEvent]:
    """Several nodes in as few events as they fit into; the removals go with the last."""
    portions = list(batches(written))
    summary = summed(scene.scene_id, scene.header, nodes)
    return [
        NodesWritten(
            scene_id=scene.scene_id, written=tuple(portion), removed=removed if portion is portions[-1] else (),
            summary=summary,
        )
        for portion in portions
    ]


def _taken(scene: Written, node_id: str) -> Refused:
    return Refused(
        f"Scene {scene.scene_id} has a node {node_id!r} already.",
        error="node_exists",
        remediation=[Remedy("Choose another id, or edit the node.", "edit_node")],
        detail={"scene": scene.scene_id, "node": node_id},
    )
