"""Asking for whole scenes: written, replaced, renamed, deleted, restored, and the fields besides their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from commands.declaration import Command
from commands.envelope import Asked
from commands.story.scene_refusals import must_hold, opened, scene_deleted
from domain.bounded_json import BoundedObject, same_json
from domain.errors import Invalid, Refused, Remedy
from domain.ids import Token
from domain.story.places import arranged, spread
from domain.story.scene import evolve
from domain.story.scene_events import (
    HEADER,
    NodesWritten,
    PlacedNode,
    SceneCreated,
    SceneDeleted,
    SceneEdited,
    SceneEvent,
    SceneHeader,
    SceneRestored,
)
from domain.story.scene_model import TEXT_LIMIT, NodeId, Pov, SceneBody, Title, plain
from domain.story.scene_rules import SHOWN, Problem, graph_problems, header_problems, warnings
from domain.story.scene_states import Deleted, Unwritten, Written, document_of
from domain.story.scene_writing import batches, same_node, summed
from domain.values import Json


class CreateScene(SceneBody, Command):
    """Write down a scene, given as a whole document."""

    id: Token | None = None


class ReplaceScene(SceneBody, Command):
    """Make a scene say what this document says; only what differs is recorded."""

    scene_id: Token
    id: Token | None = None


class EditScene(Command):
    """Change fields of the scene itself: only what is named changes, ``null`` takes a field away."""

    scene_id: Token
    title: Title | None = None
    description: Annotated[str, Field(max_length=TEXT_LIMIT)] | None = None
    start: NodeId | None = None
    variables: BoundedObject | None = None
    metadata: BoundedObject | None = None
    default_pov: Pov | None = None


class RenameScene(Command):
    """Give a scene another title; its id stays for ever."""

    scene_id: Token
    title: Title


class SetSceneVariables(Command):
    """Set and take away single variables of a scene; the others stay, whoever sets them meanwhile."""

    scene_id: Token
    set: BoundedObject = {}
    unset: Annotated[tuple[str, ...], Field(max_length=1000)] = ()


class DeleteScene(Command):
    """Put a scene out of sight on this worldline; nothing of it is lost."""

    scene_id: Token


class RestoreScene(Command):
    """Bring a deleted scene back as it was."""

    scene_id: Token


def create(command: CreateScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when the same document stands there already."""
    assert command.id is not None, "the door gives every scene an id"
    document = _document(command, command.id)
    if isinstance(state, Deleted):
        raise scene_deleted(command.id)
    if isinstance(state, Written):
        if same_json(document_of(state), document):
            return []
        raise Refused(
            f"Scene {command.id} exists already.",
            error="scene_exists",
            remediation=[
                Remedy("Choose another id.", "rename"), Remedy("Replace the scene as a whole.", "replace_scene"),
            ],
            detail={"scene": command.id},
        )
    nodes = document["nodes"]
    placed = [PlacedNode(place=place, node=node) for place, node in zip(spread(len(nodes)), nodes, strict=True)]
    header = SceneHeader(**{name: document.get(name) for name in HEADER})
    first, *rest = batches(placed)
    summary = summed(command.id, header, len(first))
    created = SceneCreated(scene_id=command.id, header=header, nodes=tuple(first), summary=summary)
    return [created, *_written(command.id, header, rest, (), len(first))]


def created_warnings(events: Sequence[SceneEvent]) -> Mapping[str, Json]:
    """What is probably not meant in a scene that has just been created: unreachable nodes, dead ends."""
    state: Unwritten | Written | Deleted = Unwritten()
    for event in events:
        state = evolve(state, event)
    if not isinstance(state, Written):
        return {}
    return {"warnings": [one.shown() for one in warnings(document_of(state))[:SHOWN]]}


def replace(command: ReplaceScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """What differs: fields of the scene, and nodes that are new, changed, moved or gone."""
    scene = opened(command.scene_id, state)
    if command.id not in (None, command.scene_id):
        raise Invalid(
            f"The document is scene {command.id}, not {command.scene_id}.",
            error="other_scene",
            remediation=[Remedy("Send the document to its own address, or leave `id` away.", "correct_id")],
        )
    document = _document(command, command.scene_id)
    header = SceneHeader(**{name: document.get(name) for name in HEADER})
    places = arranged([known.place if (known := scene.nodes.get(node["id"])) else None for node in document["nodes"]])
    wanted = [PlacedNode(place=place, node=node) for place, node in zip(places, document["nodes"], strict=True)]
    changed = [one for one in wanted if not same_node(one, scene.nodes.get(one.id))]
    kept = {one.id for one in wanted}
    removed = [id_ for id_ in scene.nodes if id_ not in kept]
    if not changed and not removed:
        return edited(scene, header)
    portions = list(batches(changed))
    written = _written(scene.scene_id, scene.header, portions, removed, len(scene.nodes), set(scene.nodes))
    return [*written, *edited(scene, header, len(wanted))]


def edit(command: EditScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """Nothing when everything named is so already."""
    scene = opened(command.scene_id, state)
    named = {name: getattr(command, name) for name in command.model_fields_set if name in HEADER}
    return _renewed(scene, scene.header.model_copy(update=named))


def rename(command: RenameScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """The title, and nothing else."""
    scene = opened(command.scene_id, state)
    return _renewed(scene, scene.header.model_copy(update={"title": command.title}))


def set_variables(
    command: SetSceneVariables, state: Unwritten | Written | Deleted, asked: Asked
) -> list[SceneEvent]:
    """Unsetting what is not set is harmless."""
    scene = opened(command.scene_id, state)
    if both := sorted(set(command.set) & set(command.unset)):
        raise Invalid(
            f"Variables both set and unset: {', '.join(both)}.",
            error="contradicting_variables",
            remediation=[Remedy("Name each variable once.", "edit_variables")],
        )
    before = scene.header.variables or {}
    after = {name: value for name, value in {**before, **command.set}.items() if name not in command.unset}
    if after == {} and scene.header.variables is None:
        return []
    return _renewed(scene, scene.header.model_copy(update={"variables": after}))


def delete(command: DeleteScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """A deleted scene stays so."""
    if isinstance(state, Deleted):
        return []
    return [SceneDeleted(scene_id=opened(command.scene_id, state).scene_id)]


def restore(command: RestoreScene, state: Unwritten | Written | Deleted, asked: Asked) -> list[SceneEvent]:
    """A scene that is there stays so."""
    if isinstance(state, Deleted):
        scene = state.scene
        return [SceneRestored(scene_id=scene.scene_id, summary=summed(scene.scene_id, scene.header, len(scene.nodes)))]
    opened(command.scene_id, state)
    return []


def edited(scene: Written, header: SceneHeader, nodes: int | None = None) -> list[SceneEvent]:
    """The event for fields of the scene that differ from what they are; none when nothing does."""
    before, after = scene.header.model_dump(), header.model_dump()
    changed = tuple(name for name in HEADER if not same_json(before[name], after[name]))
    if not changed:
        return []
    count = len(scene.nodes) if nodes is None else nodes
    said = SceneHeader(**{name: after[name] for name in changed})
    return [SceneEdited(scene_id=scene.scene_id, changed=changed, header=said,
                        summary=summed(scene.scene_id, header, count))]


def _renewed(scene: Written, header: SceneHeader) -> list[SceneEvent]:
    problems = header_problems(header.model_dump())
    if header.start not in scene.nodes:
        problems.append(Problem("start", f"There is no node {header.start!r} to start at.", "missing_start"))
    must_hold(problems)
    return edited(scene, header)


def _document(command: SceneBody, scene_id: str) -> dict[str, Any]:
    given = {name: value for name, value in plain(command).items() if name != "scene_id" and value is not None}
    document = given | {"id": scene_id}
    must_hold(graph_problems(document))
    return document


def _written(
    scene_id: str, header: SceneHeader, portions: Sequence[list[PlacedNode]], removed: Sequence[str], count: int,
    known: set[str] | None = None,
) -> list[SceneEvent]:
    """One event for each portion; removals go with the last, when nothing points to them any more."""
    present = set() if known is None else set(known)
    events: list[SceneEvent] = []
    for index, portion in enumerate(portions or [[]] if removed else portions):
        last = index == max(len(portions), 1) - 1
        count += len({one.id for one in portion} - present)
        present |= {one.id for one in portion}
        gone = tuple(removed) if last else ()
        count -= len(gone)
        events.append(NodesWritten(scene_id=scene_id, written=tuple(portion), removed=gone,
                                   summary=summed(scene_id, header, count)))
    return events
