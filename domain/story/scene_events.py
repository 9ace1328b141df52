"""Events of scenes, and the values that they carry.

They hold nodes as plain JSON, as they were judged when they were accepted: bounds that change later never make the past
unreadable. Each node has a place of its own (``places.py``), so that order needs no list that everybody rewrites.
"""

from __future__ import annotations

from typing import Final

from pydantic import ConfigDict, JsonValue

from domain.story.places import Place
from domain.values import Event, Value

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
