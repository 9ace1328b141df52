"""Scenes: what can have happened to one, and the document that it adds up to.

Events hold nodes as plain JSON, as they were judged when they were accepted: bounds that change later never make
the past unreadable. Each node has a place of its own (``places.py``), so that order needs no list that everybody
rewrites.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import ConfigDict, Field, JsonValue

from domain.context import Context, Fields, Layout
from domain.story.places import Place
from domain.story.scene_references import references
from domain.values import Event, Value

CATEGORY = "scene"

HEADER: Final = ("title", "description", "start", "variables", "metadata", "default_pov")
"""Everything of a scene document besides its id and its nodes."""

NODE_FIELD: Final = "nodes/"
"""Start of the path of a node among a document's fields: ``nodes/<id>``."""

JsonObject = dict[str, JsonValue]


class Summary(Value):
    """What lists show of a scene: its title (its id while it has none) and how many nodes it has."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    nodes: int


class PlacedNode(Value):
    """A node as JSON, and where it stands among the others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    place: Place
    node: JsonObject

    @property
    def id(self) -> str:
        return str(self.node["id"])


class SceneHeader(Value):
    """Fields of a scene besides its nodes; ``None`` is what was never given, or what an edit does not touch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str | None = None
    description: str | None = None
    start: str | None = None
    variables: JsonObject | None = None
    metadata: JsonObject | None = None
    default_pov: str | None = None


class SceneCreated(Event):
    """A scene was written down. The nodes of a large one go on in ``NodesWritten`` events of the same command."""

    scene_id: str
    header: SceneHeader
    nodes: tuple[PlacedNode, ...]
    summary: Summary


class SceneEdited(Event):
    """Fields of the scene itself changed: those named, each with its whole value after (``None``: removed)."""

    scene_id: str
    changed: tuple[str, ...]
    header: SceneHeader
    summary: Summary


class NodeAdded(Event):
    """A node joined the scene."""

    scene_id: str
    node: PlacedNode
    summary: Summary


class NodeEdited(Event):
    """A node changed: the whole node after, and the names of what changed (``choices/<id>`` for one choice)."""

    scene_id: str
    node: PlacedNode
    changed: tuple[str, ...]


class NodeMoved(Event):
    """A node stands elsewhere among the others; nothing else of it changed."""

    scene_id: str
    node: PlacedNode


class NodeRemoved(Event):
    """A node left the scene; nothing points to it any more."""

    scene_id: str
    node_id: str
    summary: Summary


class NodesWritten(Event):
    """Several nodes at once: those written stand whole (new, changed or moved), those removed by id."""

    scene_id: str
    written: tuple[PlacedNode, ...]
    removed: tuple[str, ...]
    summary: Summary


class SceneDeleted(Event):
    """The scene is out of sight; nothing of it is lost."""

    scene_id: str


class SceneRestored(Event):
    """A deleted scene is back as it was."""

    scene_id: str
    summary: Summary


SceneEvent = (
    SceneCreated | SceneEdited | NodeAdded | NodeEdited | NodeMoved | NodeRemoved | NodesWritten
    | SceneDeleted | SceneRestored
)


class Unwritten(Value):
    """No such scene yet."""

    kind: Literal["unwritten"] = "unwritten"


class Written(Value):
    """A scene that can be read and edited."""

    kind: Literal["written"] = "written"
    scene_id: str
    header: SceneHeader
    nodes: dict[str, PlacedNode]


class Deleted(Value):
    """A scene that was deleted; it can be restored."""

    kind: Literal["deleted"] = "deleted"
    scene: Written


SceneState = Annotated[Unwritten | Written | Deleted, Field(discriminator="kind")]


def evolve(state: Unwritten | Written | Deleted, event: SceneEvent) -> Unwritten | Written | Deleted:
    """What an event makes of a scene."""
    match event:
        case SceneCreated():
            return Written(scene_id=event.scene_id, header=event.header, nodes={one.id: one for one in event.nodes})
        case SceneRestored():
            assert isinstance(state, Deleted), "a scene is deleted before it is restored"
            return state.scene
    assert isinstance(state, Written), "a scene is written before it changes"
    match event:
        case SceneEdited():
            after = {name: getattr(event.header, name) for name in event.changed}
            return state.model_copy(update={"header": state.header.model_copy(update=after)})
        case NodeAdded() | NodeEdited() | NodeMoved():
            return _with(state, (event.node,), ())
        case NodeRemoved():
            return _with(state, (), (event.node_id,))
        case NodesWritten():
            return _with(state, event.written, event.removed)
        case SceneDeleted():
            return Deleted(scene=state)
        case _:
            assert_never(event)


def _with(scene: Written, written: Iterable[PlacedNode], removed: Iterable[str]) -> Written:
    nodes = dict(scene.nodes)
    for id_ in removed:
        nodes.pop(id_, None)
    nodes.update((one.id, one) for one in written)
    return scene.model_copy(update={"nodes": nodes})


def fields(event: SceneEvent) -> Fields:
    """What an event sets: ``summary``, the fields of the header, and ``nodes/<id>`` as ``{"node", "place"}``."""
    match event:
        case SceneCreated():
            return {"summary": _json(event.summary), **_header(event.header, HEADER), **_nodes(event.nodes)}
        case SceneEdited():
            return {"summary": _json(event.summary), **_header(event.header, event.changed)}
        case NodeAdded():
            return {"summary": _json(event.summary), **_nodes((event.node,))}
        case NodeEdited() | NodeMoved():
            return _nodes((event.node,))
        case NodeRemoved():
            return {"summary": _json(event.summary), NODE_FIELD + event.node_id: None}
        case NodesWritten():
            gone: dict[str, Any] = {NODE_FIELD + id_: None for id_ in event.removed}
            return {"summary": _json(event.summary), **gone, **_nodes(event.written)}
        case SceneDeleted():
            return {"summary": None}
        case SceneRestored():
            return {"summary": _json(event.summary)}
        case _:
            assert_never(event)


def _json(summary: Summary) -> dict[str, Any]:
    return {"title": summary.title, "nodes": summary.nodes}


def _header(header: SceneHeader, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(header, name) for name in names}


def _nodes(nodes: Iterable[PlacedNode]) -> dict[str, Any]:
    return {NODE_FIELD + one.id: {"node": one.node, "place": list(one.place)} for one in nodes}


def document_of(scene: Written) -> dict[str, Any]:
    """The scene document of a state, with exactly the fields that were given."""
    return _document(scene.scene_id, scene.header.model_dump(), [(one.place, one.node) for one in scene.nodes.values()])


def document_from(scene_id: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The scene document that fields (as ``fields`` sets them) add up to."""
    placed = [
        (tuple(value["place"]), value["node"]) for path, value in stored.items()
        if path.startswith(NODE_FIELD) and value is not None
    ]
    return _document(scene_id, stored, placed)


def _document(scene_id: str, header: Mapping[str, Any], placed: list[tuple[Place, Any]]) -> dict[str, Any]:
    known = {name: header[name] for name in HEADER if header.get(name) is not None}
    ordered = sorted(placed, key=lambda one: (one[0], one[1]["id"]))
    return {"id": scene_id, **known, "nodes": [node for _, node in ordered]}


def _write(id_: str, state: Unwritten | Written | Deleted, fields: Fields) -> Sequence[SceneEvent]:
    from domain.story.scene_writing import write  # that room is about these events, so it opens after this one

    return write(id_, state, fields)


CONTEXT = Context(
    category=CATEGORY,
    branches=True,
    events=(
        SceneCreated, SceneEdited, NodeAdded, NodeEdited, NodeMoved, NodeRemoved, NodesWritten, SceneDeleted,
        SceneRestored,
    ),
    state=SceneState,
    initial=Unwritten(),
    evolve=evolve,
    fields=fields,
    write=_write,
    layout=Layout({name: name for name in HEADER}, {"nodes": "node"}),
    references=references,
)
